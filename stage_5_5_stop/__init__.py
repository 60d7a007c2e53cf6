"""5.5  SIGTERM asks the container's PID 1 to end, SIGKILL ends it; the record then says stopped."""

from stages import options
from stages.kernel import machine, records
from stages.kernel.errors import Failure
from stages.kernel.places import Places

PATIENCE = "10"  # seconds between the two signals, as Docker has it


def stop(places: Places, words: list[str]) -> int:
    """Stop one container or several.  `-t N`: wait N seconds before SIGKILL.  Raises Failure."""
    found, seconds = wanted(places, words)
    for record in found:
        machine.end(places.home(record.name), seconds)
        record.mark_stopped(places)
    return 0


def wanted(places: Places, words: list[str]) -> tuple[list[records.Record], int]:
    """The containers that `words` name, and the seconds to wait.  Raises Failure."""
    found, rest = options.split("stop", words, {"t", "time"}, set(), anywhere=True)
    seconds = dict(found).get("t") or dict(found).get("time") or PATIENCE
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 7):
        raise Failure(f"stop: -t {seconds}: the time to wait is a number of seconds")
    return [records.find(places, name) for name in options.names("stop", rest)], int(seconds)
