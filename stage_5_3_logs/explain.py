"""The script of `logs`."""

from stage_5_3_logs import wanted
from stages import Rung
from stages.explain.script import Script
from stages.kernel.places import Places
from stages.kernel.step import quoted


def write(script: Script, rung: Rung, command: str, places: Places, words: list[str]) -> None:
    """Write down how a log is shown.  Raises Failure."""
    record, path, follow = wanted(places, words)
    script.head(rung, command, [], [])
    if not follow or not record.is_alive():
        script.said("What the container has printed is in a file.", f"cat {quoted(path)}")
        return
    script.said(
        "What the container has printed is in a file: from its first line on, then whatever is added, until the process is gone.",
        f"tail -n +1 -s 0.05 --pid={record.pid} -f {quoted(path)}",
    )
