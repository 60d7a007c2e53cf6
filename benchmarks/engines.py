"""Podman and Docker, at work in the place where we measure: set up as for the checks (`harness/subjects`)."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.pairs import Refused, Stopwatch, last_line
from harness.engines import missing
from harness.subjects import Subject, find

LIMIT = 30  # seconds for an engine to come up; it takes less than one


def start(name: str, watch: Stopwatch, images: dict[str, Path]) -> str:
    """Have the engine answer, with these images (name: tar); returns why not, empty when it does."""
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
            _begin(subject, watch)
        for image, tarball in images.items():
            watch.run(subject.command(engine.load, tarball=str(tarball), image=image))
    except (Refused, OSError) as error:
        return f"{name} refused: {error}"
    return ""


def _begin(subject: Subject, watch: Stopwatch) -> None:
    engine = subject.engine
    assert engine
    log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (it stays open as long as the daemon)
    words = subject.command(engine.start)
    daemon = subprocess.Popen(words, env=watch.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    end = time.monotonic() + LIMIT
    while True:
        try:
            return watch.run(subject.command(engine.ready))
        except Refused:
            if daemon.poll() is not None or time.monotonic() > end:
                log.seek(0)
                raise Refused(last_line(log.read())) from None
            time.sleep(0.05)


def version(program: str) -> str:
    """What the program says of its version, in one line; empty when it isn't installed."""
    if not shutil.which(program):
        return ""
    for option in ("--version", "-v"):
        done = subprocess.run([program, option], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip().splitlines()[0]
    return program
