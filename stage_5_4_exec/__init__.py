"""5.4  A second command joins the namespaces of a container that runs."""

import os

from stages import options
from stages.kernel import birth, foreground, inside, log, machine, records, signals
from stages.kernel.errors import Failure
from stages.kernel.places import Places
from stages.kernel.spec import Program, Spec
from stages.kernel.step import Step

ORDER = ["ipc", "uts", "net", "pid", "mnt"]  # `mnt` last: after it, /proc is the container's


def steps_of(spec: Spec) -> Program:
    """The steps of `exec`: the namespaces, then the command, which waits until it is in the container's control groups."""
    started: list[Step] = [birth.JoinCgroup(spec.groups)]
    joined = inside.JoinNamespaces(spec.joins, spec.joins_since, ORDER)
    execute = inside.Execute(spec.words, spec.environment, "/")
    return Program([], started, [inside.Terminal(), joined, inside.ReceiveCommand(), execute])


def wanted(places: Places, words: list[str]) -> tuple[records.Record, Spec]:
    """The container that `words` name, and what is to be run in it.  Raises Failure."""
    _, rest = options.split("exec", words, set(), {"ti", "it", "t", "i"})
    if len(rest) < 2:
        raise Failure("exec: it takes a container and a command: exec NAME COMMAND [ARGUMENT...]")
    record = records.find(places, rest[0])
    spec = Spec(record.name, record.text("id"), places, rest[1:])
    spec.joins, spec.joins_since = record.pid, record.since
    spec.environment, spec.groups, spec.terminal = record.list("environment"), record.groups, True
    return record, spec


def exec(places: Places, words: list[str]) -> int:
    """Run a command in a running container and return its exit code.  Raises Failure."""
    record, spec = wanted(places, words)
    pidfd = record.hold()
    if pidfd is None:
        raise Failure(f"{record.name} is not running, so there is nothing to join: see `ps`")
    settings = foreground.settings_of_terminal(spec.terminal)
    signals.raise_when_asked_to_end()
    try:
        pid = machine.start(spec, steps_of(spec), None)
    except OSError:
        if record.is_alive():
            raise
        raise Failure(f"{record.name} ended just now: see `ps`") from None
    finally:
        os.close(pidfd)
    for kind in ORDER:
        log.note(f"setns on {kind} namespace succeeded")
    return foreground.wait(pid, settings)
