"""Podman and Docker, at work in the place where we measure: set up as for the checks (`harness/subjects`)."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.pairs import Refused, Stopwatch, last_line
from harness.engines import missing
from harness.subjects import find
from harness.world import ENVIRONMENT

LIMIT = 30  # seconds for an engine to come up; it takes less than one


def start(name: str, watch: Stopwatch, image: Path) -> str:
    """Have the engine answer, with the image busybox from that tar; returns why not, empty when it does."""
    subject = find(name)
    engine = subject.engine
    assert engine
    if absent := missing(subject):
        return absent
    try:
        for path, text in engine.files.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text)
        if engine.start:
            _begin(watch, subject.command(engine.start), subject.command(engine.ready))
        watch.run(subject.command(engine.load, tarball=str(image), image="busybox"))
    except (Refused, OSError) as error:
        return f"{name} refused: {error}"
    return ""


def docker_on(store: Path, watch: Stopwatch, image: Path) -> list[str]:
    """A second Docker, whose containers are in the directory `store`; returns how it is called.  Raises Refused."""
    called = ["docker", "-H", f"unix://{store}/socket"]
    own = ["--data-root", f"{store}/data", "--exec-root", f"{store}/exec", "--pidfile", f"{store}/pid"]
    _begin(watch, ["dockerd", *own, *called[1:]], [*called, "version"])
    watch.run([*called, "import", str(image), "busybox"])
    return called


def away(engine: str, names: list[str]) -> list[str]:
    """How containers are removed, whatever they do.  Podman would ask each to end first, and wait ten seconds."""
    return [engine, "rm", "-f", *(["-t", "0"] if engine == "podman" else []), *names]


def _begin(watch: Stopwatch, words: list[str], ready: list[str]) -> None:
    """Start a daemon, and wait until it answers.  Raises Refused, with what it said last."""
    log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (it stays open as long as the daemon)
    daemon = subprocess.Popen(words, env=watch.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    end = time.monotonic() + LIMIT
    while True:
        try:
            return watch.run(ready)
        except Refused:
            if daemon.poll() is not None or time.monotonic() > end:
                log.seek(0)
                raise Refused(last_line(log.read())) from None
            time.sleep(0.05)


def version(program: str) -> str:
    """What the program says of its version, in one line; empty when it isn't installed."""
    found = shutil.which(program, path=ENVIRONMENT["PATH"])
    if not found:
        return ""
    for option in ("--version", "-v"):
        done = subprocess.run([found, option], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip().splitlines()[0]
    return program
