"""5.4  A second command joins the namespaces of a container that runs."""

import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.expect import expect, expect_end
from harness.program import Program, eventually, fresh, long_sleep
from harness.tables import KINDS, content, field, namespaces
from harness.world import World

ORDER = ["ipc", "uts", "net", "pid", "mnt"]


@pytest.mark.behaviour("D17", since="5.4")
def test_pid_1_in_exec(program: Program) -> None:
    """D17: inside `exec`, PID 1 is the container's command."""
    name, token, command = fresh("bird"), fresh(), long_sleep()
    program.detach(*command, name=name)
    done = program.exec(name, "sh", "-c", f"echo {token}=$(tr '\\0' ' ' </proc/1/cmdline)=$$")
    expect_end(done)
    found = [line for line in done.out.splitlines() if line.startswith(token)]
    first, own = found[0].split("=")[1:] if found else ["", ""]
    means = "The mount namespace was not joined, or the pid namespace not before it: /proc is not the container's."
    expect(first.strip(), " ".join(command), "/proc/1/cmdline, as `exec` reads it", means)
    means = "setns of a pid namespace counts for children only: fork after it."
    expect(
        own.isdecimal() and int(own) > 1, True, f"is the command in `exec` another process than PID 1? ({own})", means
    )


@pytest.mark.behaviour("D17", since="5.4")
def test_namespaces_joined(program: Program, world: World) -> None:
    """D17: in `exec` the namespaces ipc, uts, net, pid and mnt are the container's."""
    name = fresh("bird")
    first = program.detach("top", name=name)
    process = program.stay_in(name)
    means = "The five files in /proc/PID/ns of the container's first process are to be opened and given to setns."
    expect(namespaces(world, process), namespaces(world, first), "/proc/PID/ns", means)
    host = namespaces(world, 1)
    expect({k for k in KINDS if namespaces(world, process).get(k) == host[k]}, set(), "which are the host's", means)
    expect(len(field(world, process, "NSpid").split()), 2, "the number of its PIDs in NSpid", means)


@pytest.mark.behaviour("D17", since="5.4")
def test_order(program: Program, world: World) -> None:
    """D17: the namespaces are joined in the order ipc, uts, net, pid, mnt."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed, and no table of the kernel's tells the order afterwards")
    name, token = fresh("bird"), fresh()
    program.detach("top", name=name)
    trace = f"/root/{fresh('trace')}"
    program.volumes.add(trace)  # ours, and to stay
    world.path(trace).mkdir()
    strace = ["strace", "-ff", "-e", "trace=setns", "-o"]  # a file for each process
    with watched(world, [*strace, f"{trace}/engine"]):
        words = [*strace, f"{trace}/program", *program.subject.words("exec", [], name=name, command=["echo", token])]
        done = world.run(words, env=program.subject.environment)
    program.history.append((words, done))
    expect_end(done)
    expect(token in done.out, True, "did the command run?")
    texts = [content(file) for file in world.path(trace).iterdir()]
    calls = [re.findall(r"(?m)^setns\([^)]*CLONE_NEW(\w+)\) += 0", text) for text in texts]
    # One process joins them; another one may have looked into a namespace before.
    longest = [{"NS": "mnt"}.get(kind, kind.lower()) for kind in max(calls, key=len, default=[])]
    expect(longest, ORDER, "the calls of setns, of the process that made most of them")


@contextmanager
def watched(world: World, strace: list[str]) -> Iterator[None]:
    """Meanwhile strace watches the processes outside of containers as well, if there are any: an engine may do the work."""
    engine = [str(process.pid) for process in world.processes() if process.pid != 1 and len(process.nspid) == 1]
    if not engine:
        yield
        return
    running = world.start([*strace, *(word for pid in engine for word in ("-p", pid))])
    eventually(lambda: all(f"Process {pid} attached" in running.err() for pid in engine) or running.ended())
    yield
    running.signal(signal.SIGINT)  # it lets go of them, and ends
    running.wait()
