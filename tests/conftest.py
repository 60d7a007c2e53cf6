"""What all tests share: a root and a state of their own, the programs as a person calls them, and a look at the machine.

The tests use the real thing: real namespaces, mounts and control groups, so they need root.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path
from typing import Any

import pytest

from harness.subtree import NAME

CHECKOUT = Path(__file__).resolve().parent.parent
STAGES = CHECKOUT / "bin" / "stages"
# Their tests are made in worlds of their own, in a copy of the checkout, or in a virtual machine.
IN_WORLDS = (
    "behaviours",
    "benchmarks",
    "errors",
    "explain",
    "harness",
    "pages",
    "test_bootstrap.py",
    "test_tours.py",
    "vm",
)


def pytest_configure() -> None:
    # A shell starts what it puts in the background with SIGINT ignored, and a test that waits for its effect would hang.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    if any(item.path.is_relative_to(CHECKOUT / "tests" / name) for name in IN_WORLDS):
        item.add_marker("in_worlds")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadgroup the copy of the checkout is made ready once, in one worker: all else goes to whoever is free."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):  # xdist 3.8's own does not see its groups any more with pytest 9
        def _split_scope(self, nodeid: str) -> str:
            return "bootstrap" if "test_bootstrap.py::" in nodeid else nodeid

    return Groups(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() != 0:
        pytest.exit("the tests make namespaces, mounts and control groups, so they need root: use ./bootstrap tox", 1)


class Result:
    """How a program ended: its exit code and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


class Stage:
    """One chapter's program: `stage("run", "true")` runs `stages run 5.7 -- run true`."""

    def __init__(self, number: str, root: Path, state: Path) -> None:
        self.number, self.root, self.state = number, root, state

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "ZOCKER_ROOT": str(self.root), "ZOCKER_STATE": str(self.state)}

    def command(self, *words: str) -> list[str]:
        return [str(STAGES), "run", self.number, "--", *words]

    def __call__(self, *words: str, stdin: str = "", env: dict[str, str] | None = None, timeout: float = 60) -> Result:
        done = subprocess.run(
            self.command(*words),
            input=stdin.encode(errors="surrogateescape"),
            capture_output=True,
            env={**self.environment, **(env or {})},
            timeout=timeout,
        )
        return Result(
            done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")
        )

    def start(self, *words: str, **how: object) -> "subprocess.Popen[bytes]":
        """Begin and don't wait: standard streams are pipes unless said otherwise."""
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.command(*words), env=self.environment, **{**streams, **how})  # type: ignore[call-overload]

    def pid(self, name: str) -> int:
        """The container's PID 1 as the host counts it, from config.json."""
        import json

        return int(json.loads((self.state / name / "config.json").read_text())["pid"])


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A ZOCKER_ROOT of the test's own. Afterwards its containers are ended and undone."""
    directory = tmp_path / "root"
    directory.mkdir()
    yield directory
    if not any(directory.glob(".zocker/containers/*")):
        return
    environment = {**os.environ, "ZOCKER_ROOT": str(directory), "ZOCKER_STATE": str(tmp_path / "state")}
    done = subprocess.run([str(STAGES), "reset"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A ZOCKER_STATE of the test's own."""
    return tmp_path / "state"


@pytest.fixture
def stage(root: Path, state: Path) -> Callable[[str], Stage]:
    """The program of a chapter, by its number."""
    return lambda number: Stage(number, root, state)


def look_at_the_machine() -> dict[str, set[str]]:
    """What a container could leave behind, as the kernel's tables show it; not what others do in worlds of the harness's."""
    mounts = {line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text(errors="replace").split("\n")[:-1]}
    found = glob("/sys/fs/cgroup/**/zocker/*", recursive=True)
    groups = {path for path in found if os.path.isdir(path) and NAME not in path}
    links = set(os.listdir("/sys/class/net"))
    pid_namespaces = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                # A zombie holds nothing any more, and how soon it is reaped is up to this machine's PID 1.
                zombie = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
                if not zombie and NAME not in Path(f"/proc/{entry}/cgroup").read_text():
                    pid_namespaces.add(os.readlink(f"/proc/{entry}/ns/pid"))
            except OSError:
                continue
    return {"mounts": mounts, "control groups": groups, "links": links, "pid namespaces": pid_namespaces}


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test leaves the machine as it found it: mounts, control groups, links, processes in namespaces.

    Not those that work in worlds of their own, several at once: there the harness looks at each world.
    """
    if request.node.get_closest_marker("in_worlds"):
        yield
        return
    before = look_at_the_machine()
    yield
    deadline = time.monotonic() + 5
    while True:
        after = look_at_the_machine()
        left = {kind: sorted(after[kind] - before[kind]) for kind in after if after[kind] - before[kind]}
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert not left, f"the test left this behind: {left}"


def eventually(condition: Callable[[], object], seconds: float = 10) -> object:
    """Wait until `condition()` is true and return what it returned; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"this did not become true within {seconds} s: {condition}")
        time.sleep(0.01)
    return value
