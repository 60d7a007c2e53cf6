"""Engines: what has to be at work in a world before a subject's program can be called, such as dockerd."""

import shlex
import shutil
import time

from harness.errors import WorldError
from harness.subjects import Engine, Subject
from harness.world import ENVIRONMENT, World

LIMIT = 20  # seconds for an engine to come up; it takes less than one
LOG = "/run/engine.log"
# Engines write to /run, /dev/shm and /etc, which otherwise are the machine's own. They begin empty, /etc as a copy.
MOUNTS = """
mount -t tmpfs none /run
mount -t tmpfs none /dev/shm
mkdir /run/etc /run/etc/upper /run/etc/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work none /etc
"""

_broken: dict[str, str] = {}  # by subject: one that did not come up is not waited for again


def missing(subject: Subject) -> str:
    """A sentence that says what has to be installed for this subject; empty when all is there."""
    engine = subject.engine or Engine()
    needs = engine.needs.split() or subject.program[:1]
    absent = [name for name in needs if not shutil.which(name, path=ENVIRONMENT["PATH"])]
    how = engine.install or "is its name right?"
    return f"{subject.name} needs {' and '.join(absent)}, not to be found on this machine: {how}" if absent else ""


def start(subject: Subject, world: World) -> None:
    """Have the subject's engine at work in this world, with the busybox image, whose tar is in its place already.

    Raises WorldError, which says what is wrong.
    """
    engine = subject.engine
    if not engine:
        return
    if subject.name in _broken:
        raise WorldError(_broken[subject.name])
    try:
        _done(subject, world, ["sh", "-ec", MOUNTS], "could not have directories of its own")
        for path, text in engine.files.items():
            # By a shell in the world, where a link leads nowhere else.
            words = ["sh", "-c", 'mkdir -p "${0%/*}" && cat >"$0"', path]
            _done(subject, world, words, f"could not have the file {path}", text.encode())
        if engine.start:
            _begin(subject, world, subject.command(engine.start), subject.command(engine.ready))
        load(subject, world, "busybox")
    except WorldError as error:
        _broken[subject.name] = str(error)
        raise


def load(subject: Subject, world: World, image: str) -> None:
    """Have the engine take an image from its tar into its own store, if it has one.  Raises WorldError."""
    if subject.engine and subject.engine.load:
        tarball = subject.place("tarball", image=image)
        words = subject.command(subject.engine.load, tarball=tarball, image=image)
        _done(subject, world, words, f"could not take the image from {tarball}")


def _begin(subject: Subject, world: World, words: list[str], ready: list[str]) -> None:
    """Start the engine, and wait until it answers."""
    engine = world.start(["sh", "-c", f'exec "$@" >{LOG} 2>&1', "sh", *words], env=subject.environment, stdin=b"")
    end = time.monotonic() + LIMIT
    while world.run(ready, env=subject.environment).code != 0:
        ended, over = engine.ended(), time.monotonic() > end
        if ended or over:
            how = "has ended" if ended else f"did not answer `{shlex.join(ready)}` within {LIMIT} s"
            log = world.path(LOG).read_text(errors="replace")
            raise WorldError(f"the engine of {subject.name} {how}: {_last(log)}")
        time.sleep(0.01)


def _done(subject: Subject, world: World, words: list[str], failure: str, stdin: bytes = b"") -> None:
    done = world.run(words, env=subject.environment, stdin=stdin)
    if done.code != 0:
        raise WorldError(f"the engine of {subject.name} {failure}: {_last(done.err)}")


def _last(text: str) -> str:
    """The last lines of what a program said."""
    return " / ".join(text.strip().splitlines()[-3:]) or "it said nothing"
