"""What `--explain` prints does what the program does: the same machine, the same container, the same files."""

import json
import os
import re
import tarfile
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from harness import chapters
from harness.program import Program, eventually
from harness.tables import KINDS, environment, field, limit, namespaces
from harness.world import World
from tests.explain.conftest import Pair

COMMAND = ("sleep", "1234567")
# What an own process does between birth and command, and what is done beside it: a script has no need to undo that.
NOT_IN_THE_JOURNAL_OF_A_SCRIPT = {
    *(
        "Streams",
        "Terminal",
        "Namespaces",
        "PrivateMounts",
        "Hostname",
        "BindRoot",
        "PivotRoot",
        "Proc",
        "Dev",
        "Devices",
    ),
    *("ReceiveCommand", "Execute", "JoinCgroup", "WriteRecord"),
}

WAYS: dict[str, tuple[str, dict[str, object]]] = {
    "foreground": ("3.1", {}),
    "with limits": ("3.2", {"memory": "100m", "shares": "512", "cpuset": "0"}),
    "with volumes": ("4.3", {"volumes": [("/root/from", "/to"), ("/root/deep/er", "/a/b/c")]}),
    "detached": ("5.1", {"detach": True}),
    "with environment": (
        "5.8",
        {"detach": True, "variables": ["ONE=1", "TWO=two  words $HOME 'x' \"y\""], "memory": "64m"},
    ),
}
# Where the processor is emulated the last one, which has all verbs, stands for all.
CHAPTERS = chapters.NUMBERS[-1:] if os.environ.get("STAGES_IN_VM") else chapters.NUMBERS
CASES = [(chapter, way) for way, (since, _) in WAYS.items() for chapter in CHAPTERS if chapters.reaches(chapter, since)]


def plain(text: str) -> str:
    """A text without what differs from run to run: ids, process numbers, times."""
    text = re.sub(r"\b[1-9]\d{9}\b", "<id>", text)
    text = re.sub(r"zocker-world-[0-9a-f]+", "<world>", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>", text)


def mounts(world: World, pid: int) -> list[str]:
    """The kernel's table of mounts, without the numbers that it gives to mounts, file systems and peer groups."""
    found = []
    for line in world.mountinfo(pid):
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        shared = [re.sub(r":\d+", "", word) for word in fields[6:]]
        found.append(plain(" ".join([*fields[3:6], *shared, "-", after])))
    return found


def container(program: Program, pid: int) -> dict[str, object]:
    """All that the kernel's tables say of a container's first process."""
    world, proc = program.world, program.world.proc(pid)
    host = namespaces(world, 1)
    own = namespaces(world, pid)
    return {
        "mounts": mounts(world, pid),
        "new namespaces": [kind for kind in KINDS if own[kind] != host[kind]],
        "hostname": plain(world.run(["nsenter", "--target", str(pid), "--uts", "hostname"]).out),
        "the kernel's numbers": field(world, pid, "NSpid").split()[1:],
        "session and group": [field(world, pid, key).split()[-1] for key in ("NSsid", "NSpgid")],
        "orphan": field(world, pid, "PPid") == "1",
        "command line": (proc / "cmdline").read_bytes(),
        "environment": sorted(environment(world, pid)),
        "directory": os.readlink(proc / "cwd"),
        "signals": [field(world, pid, key) for key in ("SigBlk", "SigIgn", "SigCgt")],
        "umask": field(world, pid, "Umask"),
        "open files": sorted(
            (name, re.sub(r"pipe:\[\d+\]", "a pipe", os.readlink(proc / "fd" / name)))
            for name in os.listdir(proc / "fd")
        ),
        "groups": plain((proc / "cgroup").read_text()),
        "limits": [
            limit(world, pid, "memory", "memory.limit_in_bytes", "memory.max"),
            limit(world, pid, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
            limit(world, pid, "cpu", "cpu.shares", "cpu.weight"),
            limit(world, pid, "cpuset", "cpuset.cpus", "cpuset.cpus"),
            limit(world, pid, "cpuset", "cpuset.mems", "cpuset.mems"),
        ],
    }


def machine(world: World) -> dict[str, object]:
    """What is to be seen on the host's side: mounts, files with their modes, records, journals, cgroups."""
    return {
        "mounts": mounts(world, 1),
        "files": [file for place in ("root", "var/run") for file in files(world.path(place))],
        "records": [record(file) for file in sorted(world.path("/var/run").glob("zocker/*/config.json"))],
        "journals": [journal(file) for file in sorted(world.path("/root").glob(".zocker/containers/*/journal"))],
        "cgroups": sorted(plain(inside) for _, inside in world.subtree.groups()),
    }


def files(directory: Path) -> list[str]:
    """Each file below, with its mode, owner and size, and the marks that we leave on directories."""
    found = []
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if (
            name.startswith(("busybox/", "mnt/"))
            or name.endswith(("/journal", ".lock", "config.json"))
            or "/images" in name
        ):
            continue  # the image itself, what the mounts show, what is compared by its words, and locks
        status = path.lstat()
        mark = [
            plain(os.getxattr(path, key).decode())
            for key in os.listxattr(path, follow_symlinks=False)
            if key == "trusted.zocker"
        ]
        size = status.st_size if path.is_file() else ""
        found.append(plain(f"{name} {status.st_mode:o} {status.st_uid}:{status.st_gid} {size} {mark}"))
    return [
        line for line in found if not re.match(r"\.zocker(/(containers|work|commit|old|roots))? |\.zocker/shared", line)
    ]


def record(file: Path) -> dict[str, object]:
    """config.json, without what differs from run to run."""
    text = file.read_text()
    assert text.endswith("}\n") and text.count("\n") == 1
    fields = json.loads(text)
    assert list(fields)[-2:] == ["start_time", "boot_id"] and str(fields["pid"]).isdecimal() == (
        fields["status"] == "running"
    )
    return {**json.loads(plain(text)), "pid": bool(fields["pid"]), "start_time": fields["start_time"] > 0}


def journal(file: Path) -> list[object]:
    """The journal's lines, without what differs from run to run."""
    lines = [json.loads(plain(line)) for line in file.read_text().splitlines()]
    started = [line for line in lines if "pid" in line]
    assert len(started) == 1 and started[0]["start_time"] > 0
    for line in lines:
        if line.get("step") == "Volume":
            assert set(line["before"]) == {"device", "inode"}
            line["before"] = {}
    return [line for line in lines if "pid" not in line and line.get("step") not in NOT_IN_THE_JOURNAL_OF_A_SCRIPT]


def started(program: Program, **how: object) -> int:
    """The pid of a container that runs COMMAND."""
    if how.pop("detach", False):
        return program.detach(*COMMAND, name="bird" if program.knows("5.2") else None, **how)
    name = {"name": "bird"} if program.knows("5.2") else {}
    return program.appeared(*COMMAND, runtime=program.begin(*COMMAND, **name, **how))


def in_its_groups(world: World, pid: int, limits: Collection[str]) -> bool:
    """Is the process in a group of the container's for each of these limits?  On v2, and without limits, there is only one."""
    groups = [line.split(":", 2)[1:] for line in (world.proc(pid) / "cgroup").read_text().splitlines()]
    controllers = {"cpu" if limit == "shares" else limit for limit in limits}
    limited = [path for names, path in groups if controllers & set(names.split(","))]
    return all("/zocker/" in path for path in limited) if limited else any("/zocker/" in path for _, path in groups)


@pytest.mark.parametrize(("chapter", "way"), CASES)
def test_the_script_of_run_makes_the_same_container(pair: Callable[..., Pair], chapter: str, way: str) -> None:
    """And, when it has ended or is removed, leaves the same machine."""
    sides = []
    for program in pair(chapter):
        assert program.run("true").code == 0  # the image is unpacked
        pid = started(program, **WAYS[way][1])
        if chapter == "3.2":  # there it need not be in its groups from the first moment on
            assert eventually(partial(in_its_groups, program.world, pid, WAYS[way][1].keys()))
        running = container(program, pid), machine(program.world)
        ended = machine(program.world) if program.clean() else None
        sides.append((*running, ended))
    for ours, by_script in zip(*sides, strict=True):
        if ours is None or by_script is None:
            assert ours == by_script
            continue
        for what in ours:
            assert by_script[what] == ours[what], what


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_script_gives_the_commands_exit_code_and_output(pair: Callable[..., Pair], chapter: str) -> None:
    script = 'echo out; echo err >&2; read -r word; echo "$word"; exit 7'
    done = [program.run("sh", "-c", script, stdin=b"typed\n", terminal=True) for program in pair(chapter)]
    assert [(d.code, d.out, d.err) for d in done] == [(7, "out\ntyped\n", "err\n")] * 2
    killed = [program.run("sh", "-c", "kill -9 $$ || :; exec sleep 0.1") for program in pair(chapter)]
    assert killed[0].code == killed[1].code


# The other verbs, on one container that either of the two has made


def both_ways(chapter: str) -> "pytest.MarkDecorator":
    """In this chapter and all after it, on a container of the program's and on one of a script's."""
    cases = [(n, first) for n in CHAPTERS if chapters.reaches(n, chapter) for first in ("program", "script")]
    return pytest.mark.parametrize(("chapter", "made_by"), cases)


def one_container(pair: Callable[..., Pair], chapter: str, made_by: str, *command: str) -> Pair:
    """Program and script in one world, with the container `bird` that one of them has made."""
    program, script = pair(chapter, True)
    maker = program if made_by == "program" else script
    assert maker.run("true").code == 0
    assert maker.run(*(command or COMMAND), name="bird", detach=True, volumes=[("/root/from", "/to")]).code == 0
    return program, script


@both_ways("5.2")
def test_ps(pair: Callable[..., Pair], chapter: str, made_by: str) -> None:
    program, script = one_container(pair, chapter, made_by, "sh", "-c", 'echo "a  b" \\ $0; exec sleep 1234567')
    assert program.run("true", detach=True, name="ended").code == 0
    assert eventually(lambda: len(program.containers()) == 1)
    table = program.ps().out
    assert "running" in table and "exited" in table
    assert script.ps().out == table


@both_ways("5.3")
def test_logs(pair: Callable[..., Pair], chapter: str, made_by: str) -> None:
    program, script = one_container(pair, chapter, made_by, "sh", "-c", "echo one; echo two >&2; exec sleep 1234567")
    assert eventually(lambda: program.logs("bird").out == "one\ntwo\n")
    assert script.logs("bird").out == "one\ntwo\n"
    following = script.begin_follow("bird")
    assert eventually(lambda: following.out() == "one\ntwo\n")
    for pid in program.containers():
        os.kill(program.world.host_pid(pid), 9)
    assert following.wait(5).code == 0


@both_ways("5.4")
def test_exec(pair: Callable[..., Pair], chapter: str, made_by: str) -> None:
    """The command sees the same container, and gives its exit code."""
    program, script = one_container(pair, chapter, made_by)
    look = "for ns in /proc/1/ns/* /proc/self/ns/*; do readlink $ns; done; env; hostname; pwd; cat /proc/self/cgroup; umask; exit 7"
    done = [each.exec("bird", "sh", "-c", look) for each in (program, script)]
    assert done[0].code == done[1].code == 7
    assert done[0].out == done[1].out and "pid:[" in done[0].out


@both_ways("5.5")
@pytest.mark.parametrize("first", ["program", "script"])
@pytest.mark.parametrize("command", [("top",), COMMAND], ids=lambda command: command[0])
def test_stop(pair: Callable[..., Pair], chapter: str, made_by: str, command: tuple[str, ...], first: str) -> None:
    program, script = one_container(pair, chapter, made_by, *command)
    machines = []
    for each in (program, script) if first == "program" else (script, program):
        assert each.stop("bird").code == 0
        assert not each.containers()
        machines.append(machine(program.world))
    assert machines[0] == machines[1]  # a stop of what is stopped changes nothing
    assert machines[0]["records"][0]["status"] == "stopped"  # type: ignore[index]


@both_ways("5.6")
def test_rm(pair: Callable[..., Pair], chapter: str, made_by: str) -> None:
    sides = []
    for remover in (0, 1):
        both = pair(chapter, False)
        program, script = both
        del both
        maker = program if made_by == "program" else script
        world = maker.world
        remove = Program((program, script)[remover].subject, world)
        assert maker.run("true").code == 0
        before = machine(world)
        maker.detach(*COMMAND, name="bird", volumes=[("/root/from", "/to")])
        assert remove.rm("bird").code == 125
        assert remove.stop("bird").code == 0 and remove.rm("bird").code == 0
        after = machine(world)
        assert after["mounts"] == before["mounts"] and after["cgroups"] == before["cgroups"] and after["journals"] == []
        sides.append(after)
    assert sides[0] == sides[1]


@pytest.mark.parametrize("how", ["", "-z", "--reproducible"])
@both_ways("5.7")
def test_commit(pair: Callable[..., Pair], chapter: str, made_by: str, how: str) -> None:
    """The same members in the tar: names, kinds, modes, owners, times, links, attributes, contents."""
    dirty = (
        "mkdir -p /d/e; echo x >/d/f; ln /d/f /d/g; ln -s f /d/h; mkfifo /d/p; mknod /d/n c 1 3; chmod 4711 /d/f; chown 7:8 /d/e;"
        " rm /etc/group; echo v >/to/v; : >'/d/two words'; exec sleep 1234567"
    )
    program, script = one_container(pair, chapter, made_by, "sh", "-c", dirty)
    for each in (program, script):
        verbs = {**each.subject.verbs, "commit": each.subject.verbs["commit"].replace("commit", f"commit {how}", 1)}
        each.subject = replace(each.subject, verbs=verbs)
    assert eventually(lambda: any(p.cmdline == COMMAND for p in program.world.processes()))
    assert program.commit("bird", "one").out == "/root/one.tar\n"
    assert script.commit("bird", "two").out == "/root/two.tar\n"
    assert members(program.tarball("one")) == members(program.tarball("two"))
    packed = [each.tarball(name).read_bytes()[:2] for each, name in ((program, "one"), (script, "two"))]
    assert [head == b"\x1f\x8b" for head in packed] == [how == "-z"] * 2
    assert "d/two words" in [member[0] for member in members(program.tarball("two"))]
    assert program.exec("bird", "true").code == 0  # it is not left frozen
    assert script.run("cat", "/to/v", image="two").out == "v\n"


def members(tarball: Path) -> list[tuple[object, ...]]:
    """All that a tar says of each of its members."""
    with tarfile.open(tarball) as tar:
        return [
            (m.name, m.type, m.mode, m.uid, m.gid, m.size, int(m.mtime), m.linkname, m.devmajor, m.devminor,
             sorted(key for key in m.pax_headers if "xattr" in key),
             tar.extractfile(m).read() if m.isreg() else b"")  # type: ignore[union-attr]
            for m in sorted(tar, key=lambda m: m.name)
        ]  # fmt: skip
