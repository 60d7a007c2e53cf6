"""A world: what is done in it stays in it, is seen, and ends with it."""

import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import init, network
from harness.errors import WorldError
from harness.look import Look, difference, look_at
from harness.subtree import NAME
from harness.world import World
from tests.conftest import CHECKOUT, STAGES, eventually

BOMB = [sys.executable, "-IS", "-c", "import os\nwhile True:\n try: os.fork()\n except OSError: pass"]


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        for kind in ("mnt", "pid", "net"):  # else what these tests do would be done to the machine
            assert os.readlink(made.proc(1) / "ns" / kind) != os.readlink(f"/proc/self/ns/{kind}")
        yield made


def output(world: World, script: str, **how: object) -> str:
    """What a shell script prints, which is to end well."""
    done = world.run(["sh", "-c", script], **how)  # type: ignore[arg-type]
    assert (done.code, done.err) == (0, ""), done
    return done.out


def commands(world: World) -> list[str]:
    """The command lines of all but init."""
    return [" ".join(process.cmdline) for process in world.processes() if process.pid != 1]


def groups_on_the_machine() -> set[str]:
    """The cgroup directories of all worlds, in all hierarchies."""
    return {
        f"{target}/{name}" for target, _ in init.cgroup_mounts() for name in os.listdir(target) if name.startswith(NAME)
    }


def groups_of(world: World) -> set[str]:
    return {str(directory) for directory, _ in world.subtree.groups()}


def hierarchy(controller: str) -> str:
    """Where the v1 controller is mounted, "" being v2, or else skip the test."""
    for target, controllers in init.cgroup_mounts():
        if controller in controllers.split(","):
            return target
    pytest.skip(f"this machine has no {controller or 'v2'} hierarchy")


def alive(pid: int) -> bool:
    """Does the machine have this process, and not only its remains?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


# Processes


def test_an_orphan_is_adopted_by_1(world: World) -> None:
    parent = world.start(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & read -r _"])
    orphan = eventually(lambda: [p for p in world.processes() if p.cmdline == ("sleep", "1000")])
    assert isinstance(orphan, list) and orphan[0].ppid == parent.pid != 1
    parent.write(b"\n")
    parent.wait()
    assert {process.pid: process.ppid for process in world.processes()}[orphan[0].pid] == 1


def test_an_orphan_is_reaped_at_once(world: World) -> None:
    assert (
        world.run(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do (sh -c 'sleep 0.0$0 &' $i >/dev/null 2>&1); done"]).code
        == 0
    )
    eventually(lambda: not commands(world), 1)
    assert [process.pid for process in world.processes()] == [1]  # no zombies either


def test_how_a_command_ended_is_known(world: World) -> None:
    assert world.run(["sh", "-c", "exit 7"]).code == 7
    assert world.run(["sh", "-c", "kill -9 $$"]).code == -9
    assert world.run(["/nowhere/nothing"]).code == 127
    assert world.run(["/etc/passwd"]).code == 126
    missing = world.run(["no-such-tool"])
    assert (missing.code, missing.err) == (127, "no-such-tool: No such file or directory\n")
    assert world.run(["true"], cwd="/nowhere").err == "/nowhere: No such file or directory\n"


def test_both_outputs_and_the_input_are_ours(world: World) -> None:
    data = secrets.token_bytes(300_000)
    done = world.run(["sh", "-c", "cat; echo e >&2"], stdin=data)
    assert (done.out.encode(errors="surrogateescape"), done.err, done.flooded) == (data, "e\n", 0)
    assert done.held is False and done.timed_out is False and 0 < done.seconds < 10
    assert world.run(["true"], stdin=data).code == 0  # who does not read is not waited for


def test_words_of_any_kind_and_length_arrive(world: World) -> None:
    words = ["", " a  b\n", "\udcff", "ä", "x" * 100_000, "-n"]
    assert world.run(["printf", "%s|", *words]).out == "".join(word + "|" for word in words)
    with pytest.raises(WorldError, match="NUL"):
        world.run(["echo", "a\0b"])


def test_a_command_starts_clean(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    read, write = os.pipe()
    os.set_inheritable(read, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        with World() as fresh:
            assert output(fresh, "ls /proc/$$/fd; pwd; umask").split() == ["0", "1", "2", "/root", "0022"]
            for table in (fresh, world):
                status = table.run(
                    ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]
                ).out.split()  # a shell clears its mask
                assert status[1::2] == ["0" * 16] * 2
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        os.close(read)
        os.close(write)
    assert dict(line.split("=", 1) for line in world.run(["env"], env={"A": "b=c"}).out.splitlines()) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "A": "b=c",
    }


def test_a_hung_command_is_ended_at_its_limit_with_all_its_children(world: World) -> None:
    assert world.run(["sh", "-c", "sleep 1001 >/dev/null 2>&1 &"]).code == 0
    other = world.start(["sh", "-c", "read -r _; sleep 1002; true"])
    hung = world.start(
        ["sh", "-c", "trap '' TERM HUP INT; sleep 1003 & (setsid sh -c 'sleep 1004; true' &) ; sleep 1005; true"]
    )
    other.write(b"\n")
    eventually(lambda: {f"sleep {1000 + number}" for number in range(1, 6)} <= set(commands(world)))
    done = hung.wait(timeout=0.3)
    assert done.timed_out and done.code == -9 and 0.3 <= done.seconds < 3
    # What was there before goes on, and so does what another command of ours has started since.
    eventually(lambda: len(commands(world)) <= 3, 2)
    assert sorted(commands(world)) == ["sh -c read -r _; sleep 1002; true", "sleep 1001", "sleep 1002"]
    other.signal(signal.SIGKILL)
    assert other.wait().code == -9


def test_a_world_has_a_limit_for_all_its_commands() -> None:
    with World(limit=0.2) as world:
        for done in (world.run(["sleep", "1000"]), world.start(["sleep", "1000"]).wait()):
            assert done.timed_out and done.seconds < 3
        assert not world.run(["sleep", "0.4"], timeout=5).timed_out


def test_a_flood_is_bounded_and_counted(world: World) -> None:
    done = world.run(["sh", "-c", "head -c 20000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 3"])
    assert (done.code, len(done.out), len(done.err)) == (3, 1 << 20, 1 << 20)
    assert done.flooded == 23_000_000 - 2 * (1 << 20)
    endless = world.run(["yes"], timeout=0.3)
    assert endless.timed_out and len(endless.out) == 1 << 20 and endless.flooded


@pytest.mark.parametrize("elsewhere", [">/dev/null", "2>/dev/null", ""])
def test_who_holds_the_outputs_after_the_end_is_noticed_and_lives(world: World, elsewhere: str) -> None:
    holder = "echo x; echo y >&2; until [ -e go ]; do sleep 0.01; done; echo x; echo y >&2; exec sleep 1000"
    done = world.run(["sh", "-c", f"setsid sh -c '{holder}' {elsewhere} & exit 4"])
    assert done.held and done.code == 4 and done.seconds < 5
    world.path("/root/go").touch()  # now it writes to what it holds
    eventually(lambda: commands(world) == ["sleep 1000"])


@pytest.mark.parametrize("script", ["setsid sleep 1000 >/dev/null 2>&1 &", "sleep 0.1 &", "true"])
def test_nobody_is_accused_of_holding_the_outputs_who_does_not(world: World, script: str) -> None:
    assert not world.run(["sh", "-c", script]).held


def test_many_commands_leave_no_descriptor_open_in_the_harness(world: World) -> None:
    world.run(["true"])
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        world.run(["true"], stdin=b"x")
    world.start(["true"], terminal=True).wait()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_running_command_is_written_to_and_read(world: World) -> None:
    running = world.start(["sh", "-c", 'echo ready; while read -r x; do echo "got $x"; done; echo e >&2'])
    eventually(lambda: running.out() == "ready\n")
    assert [process.pid for process in world.processes()] == [1, running.pid] and not running.ended()
    running.write(b"one\n")
    eventually(lambda: running.out() == "ready\ngot one\n")
    running.close()
    done = running.wait(5)
    assert done.code == 0 and done.err == "e\n" == running.err() and running.ended()
    assert running.wait() is done
    with pytest.raises(WorldError, match="standard input of sh is closed"):
        running.write(b"more")


def test_a_running_command_is_signalled(world: World) -> None:
    running = world.start(["sleep", "1000"])
    running.signal(signal.SIGUSR1)
    assert running.wait(5).code == -signal.SIGUSR1
    running.signal(signal.SIGKILL)  # harmless


def test_a_terminal_is_a_controlling_terminal(world: World) -> None:
    running = world.start(
        ["sh", "-c", "stty size; tty </dev/tty >/dev/null && echo it is; read -r x; echo got $x; sleep 1000"],
        terminal=True,
    )
    eventually(lambda: "it is" in running.screen())
    running.type("token\n")
    eventually(lambda: "got token" in running.screen())
    eventually(lambda: "sleep 1000" in commands(world))
    running.type("\x03")
    done = running.wait()
    assert done.code == -signal.SIGINT and not done.timed_out and not done.held
    assert done.out.startswith("24 80\r\n") and done.err == ""


def test_a_terminal_is_hung_up(world: World) -> None:
    running = world.start(["sleep", "1000"], terminal=True)
    running.close()
    assert running.wait().code == -signal.SIGHUP


# Names of things


def test_a_pid_of_the_world_is_known_by_another_number_outside(world: World) -> None:
    running = world.start(["unshare", "-pf", "sleep", "1000"])
    inner = eventually(lambda: [p for p in world.processes() if p.cmdline == ("sleep", "1000")])
    assert isinstance(inner, list)
    assert inner[0].nspid == (inner[0].pid, 1) and inner[0].ppid == running.pid
    for pid in (1, running.pid, inner[0].pid):
        outside = Path(f"/proc/{world.host_pid(pid)}")
        assert (outside / "cmdline").read_bytes() == (world.proc(pid) / "cmdline").read_bytes()
        assert (outside / "status").read_text().partition("NSpid:\t")[2].split("\n")[0].split("\t")[1] == str(pid)
    with pytest.raises(WorldError, match="no process 999999 in the world"):
        world.host_pid(999999)


def test_files_are_reached_from_outside(world: World, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/program").write_text("#!/bin/sh\necho works\n")
    (tmp_path / "tree/program").chmod(0o755)
    world.copy_in(tmp_path / "tree", "/root/deep/tree")
    world.copy_in(tmp_path / "tree/program", "/root/one")
    assert output(world, "deep/tree/program; ./one; echo x > y") == "works\nworks\n"
    assert world.path("/root/y").read_text() == "x\n" == (world.root / "root/y").read_text()
    assert not Path("/root/y").exists()


def test_proc_is_read_even_when_something_is_mounted_over_it(world: World) -> None:
    assert world.run(["mount", "-t", "tmpfs", "none", "/proc"]).code == 0
    assert [process.pid for process in world.processes()] == [1]
    assert [line.split(" ")[4] for line in world.mountinfo()].count("/proc") == 2
    assert "a mount stayed: /proc (tmpfs)" in difference(empty_look(), look_at(world))


# Mounts


def test_root_is_shared_and_all_below_it(world: World) -> None:
    lines = output(world, "cat /proc/self/mountinfo").splitlines()
    assert len(lines) > 4 and all(" shared:" in line for line in lines)
    assert (
        output(
            world,
            "mkdir m; unshare -m --propagation unchanged mount -t tmpfs none m; grep -c /root/m /proc/self/mountinfo",
        )
        == "1\n"
    )


def test_mounts_made_inside_do_not_reach_the_machine(world: World) -> None:
    before = Path("/proc/self/mountinfo").read_bytes()
    token = f"/tmp/{secrets.token_hex(8)}"
    Path(token).mkdir()
    try:
        assert world.run(["mount", "-t", "tmpfs", "none", token]).code == 0
        assert any(token in line for line in world.mountinfo())
        assert token.encode() not in Path("/proc/self/mountinfo").read_bytes()
        assert world.run(["umount", "-l", "/dev/shm"]).code == 0
        assert Path("/proc/self/mountinfo").read_bytes().count(b" /dev/shm ") == before.count(b" /dev/shm ")
    finally:
        Path(token).rmdir()


def test_they_do_not_reach_it_either_where_its_mounts_are_shared() -> None:
    shown = in_a_layout(
        "mount --make-rshared /", "mkdir m; mount -t tmpfs none m; grep -c ' /root/m .* shared:' /proc/self/mountinfo"
    )
    assert shown == "1\n"


def test_overlays_work_below_root_and_var(world: World) -> None:
    for place in ("/root", "/var/lib"):
        script = (
            f"cd {place}; mkdir l u w m; mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m; echo x > m/f; cat u/f"
        )
        assert output(world, script) == "x\n"
    assert output(world, "stat -c '%a %n' /root /var /run /var/run/. /var/lib /var/tmp").splitlines() == [
        "700 /root", "755 /var", "755 /run", "755 /var/run/.", "755 /var/lib", "1777 /var/tmp",
    ]  # fmt: skip


def test_run_is_the_worlds_own_and_var_run_is_the_same(world: World) -> None:
    token = secrets.token_hex(8)
    output(world, f"echo {token} >/var/run/{token}; mkdir /run/d")
    assert set(output(world, "ls /run").split()) == {token, "d", "mount", "xtables.lock"}
    assert not Path("/run", token).exists()
    assert world.path(f"/var/run/{token}").read_text() == f"{token}\n"  # and from outside it doesn't lead out


# Network


def test_the_network_is_the_worlds_own_and_lo_is_up(world: World) -> None:
    """Two programs in it reach each other by 127.0.0.1; none of the machine's links or addresses is there."""
    assert output(world, "cd /sys/class/net; echo *; cat /proc/net/route | wc -l").split() == ["lo", "1"]
    look = look_at(world)
    assert look.links == ("lo",) and set(look.addresses) <= {"127.0.0.1/8 on lo", "::1/128 on lo"} and not look.networks
    server = world.start([sys.executable, "-c", SERVER])
    eventually(lambda: server.out())
    assert output(world, f"{sys.executable} -c '{CLIENT}' {server.out()}") == "hello\n"


SERVER = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    server.accept()[0].sendall(b"hello")
"""
CLIENT = """
import socket, sys
print(socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(5).decode())
"""


def test_what_is_done_to_the_network_reaches_neither_the_machine_nor_another_world(world: World) -> None:
    """Links, addresses, named namespaces, rules: all are seen in the world that they were made in."""
    token = secrets.token_hex(4)
    with World() as other:
        before, mine = look_at(other), look_at(world)
        output(
            world,
            f"""ip link add br{token} type bridge; ip addr add 10.9.8.1/24 dev br{token}; ip link set lo down
            ip netns add n{token}; ip link add v{token} type veth peer name w{token}; ip link set w{token} netns n{token}
            nft add table ip t{token} 2>/dev/null || true""",
        )
        kinds = {line.partition(":")[0] for line in difference(mine, look_at(world))}
        assert kinds >= {f"a network {what} stayed" for what in ("link", "address")}
        assert output(world, "ls /sys/class/net").split() == [f"br{token}", "lo", f"v{token}"]
        assert difference(before, look_at(other)) == []
    machine = subprocess.run("ip addr; ip netns; nft list tables", shell=True, capture_output=True, text=True).stdout
    assert "lo:" in machine and token not in machine


# Control groups


def test_the_world_looks_like_the_root_of_each_hierarchy(world: World) -> None:
    leaf = f"/{init.LEAF}"
    for line in output(world, "cat /proc/self/cgroup").splitlines():
        number, _, path = line.split(":", 2)
        assert path == (leaf if number == "0" else "/"), line
    outside = {target for target, _ in init.cgroup_mounts()}
    inside = [line.split(" ") for line in output(world, "grep -w cgroup.* /proc/self/mountinfo").splitlines()]
    assert {fields[4] for fields in inside if fields[fields.index("-") + 1].startswith("cgroup")} == outside
    assert {fields[3] for fields in inside} == {"/"}


@pytest.mark.parametrize("controller", ["memory", "cpuset", "cpu", "freezer", ""])
def test_a_cgroup_made_inside_is_inside_and_gone_afterwards(controller: str) -> None:
    place = hierarchy(controller)
    name = f"zocker-{secrets.token_hex(4)}"
    with World() as world:
        assert world.run(["mkdir", "-p", f"{place}/{name}/deep"]).code == 0
        assert not Path(place, name).exists()
        made = {group for group in groups_of(world) if name in group}
        assert len(made) == 2 and all(Path(group).is_dir() and NAME in group for group in made)
        mine = groups_of(world)
    assert not [group for group in mine if Path(group).exists()]


def test_a_command_can_go_into_a_limited_group(world: World) -> None:
    place = hierarchy("memory")
    script = f"""mkdir -p {place}/z/1; echo 100m > {place}/z/1/memory.limit_in_bytes; echo $$ > {place}/z/1/cgroup.procs
        cat {place}/z/1/memory.limit_in_bytes; grep memory /proc/self/cgroup"""
    limit, group = output(world, script).splitlines()
    assert limit == "104857600" and group.endswith(":/z/1")


IN_A_LAYOUT = """
import os, sys
from harness import subtree
from harness.look import difference, look_at
from harness.world import World
mounts = open("/proc/self/mountinfo").read()
subtree.PASSED_ON += ("hugetlb",)
with World() as world:
    done = world.run(["sh", "-c", sys.argv[1]])
    print(done.out + done.err, end="")
    before = look_at(world)
    assert difference(before, look_at(world)) == []
    names = [str(directory) for directory, _ in world.subtree.groups()]
    assert all(os.path.isdir(name) for name in names)
    assert open("/proc/self/mountinfo").read() == mounts
assert not any(os.path.exists(name) for name in names)
"""


def in_a_layout(mounts: str, script: str) -> str:
    """What a shell script prints in a world, on a machine whose cgroup file systems were changed so."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", f'{mounts}\nexec "$0" -c "$1" "$2"', sys.executable, IN_A_LAYOUT, script],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


# On the machine itself: in a world there may be no controller that could be passed on.
@pytest.mark.in_worlds
def test_a_machine_with_v2_alone_has_worlds_whose_root_can_pass_controllers_on() -> None:
    root = Path(hierarchy(""))
    if not (root / "cgroup.controllers").read_text().split():
        pytest.skip("this machine has no controller on v2")
    script = """cat /proc/self/cgroup | tail -1; mkdir /sys/fs/cgroup/z
        for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$c > /sys/fs/cgroup/cgroup.subtree_control || echo no $c; done
        cmp /sys/fs/cgroup/cgroup.controllers /sys/fs/cgroup/z/cgroup.controllers && cat /sys/fs/cgroup/z/cgroup.controllers
        wc -l </sys/fs/cgroup/cgroup.procs; grep -c cgroup /proc/self/mountinfo; echo $$ > /sys/fs/cgroup/z/cgroup.procs && echo in"""
    try:
        shown = in_a_layout("umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup", script)
    finally:
        # Where the others are on v1 it was passed on for this test alone.
        if "memory" not in (root / "cgroup.subtree_control").read_text():
            (root / "cgroup.subtree_control").write_text("-hugetlb")
    assert shown.splitlines()[0] == "0::/commands"
    assert shown.splitlines()[1], "there is no controller to pass on, so this proves nothing"
    assert shown.splitlines()[2:] == ["0", "1", "in"]


def test_a_machine_with_v1_alone_has_worlds() -> None:
    hierarchy("memory")
    shown = in_a_layout(
        f"umount {hierarchy('')}",
        "mkdir /sys/fs/cgroup/memory/z; grep -c cgroup2 /proc/self/mountinfo; grep memory /proc/self/cgroup",
    )
    assert shown.startswith("0\n") and shown.endswith(":memory:/\n")


def test_two_worlds_do_not_see_each_other(world: World) -> None:
    place = init.cgroup_mounts()[0][0]
    with World() as other:
        before = look_at(other)
        assert (
            world.run(
                [
                    "sh",
                    "-c",
                    f"mkdir {place}/z /root/m; mount -t tmpfs none /root/m; sleep 1000 >/dev/null 2>&1 & echo x > /var/run/x",
                ]
            ).code
            == 0
        )
        assert difference(before, look_at(other)) == []
        assert other.run(["sh", "-c", f"ls -d {place}/z /root/m /var/run/x"]).out == ""
        assert world.root != other.root and not groups_of(world) & groups_of(other)
    assert commands(world) == ["sleep 1000"]  # the end of one is not the other's


# The end


def bound_processes(world: World, most: int) -> None:
    """Witness that there is a bound, and lower it for the others on this machine."""
    for path in (world.path("/sys/fs/cgroup/pids/pids.max"), world.path("/sys/fs/cgroup/pids.max")):
        if path.exists():
            assert path.read_text() == "300\n"
            path.write_text(str(most))
            return
    pytest.skip("this machine has no pids controller")


def test_a_fork_bomb_ends_at_the_limit(world: World) -> None:
    bound_processes(world, 100)
    done = world.run(BOMB, timeout=0.5)
    assert done.timed_out
    eventually(lambda: not commands(world), 5)
    assert world.run(["echo", "still", "here"]).out == "still here\n"


def test_a_fork_bomb_ends_with_its_world() -> None:
    with World() as world:
        bound_processes(world, 100)
        world.start(BOMB)
        eventually(lambda: len(list(world._stats())) > 50)
        bombs = [world.host_pid(pid) for pid, _ in list(world._stats())[:3]]
        mine = groups_of(world)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not any(alive(pid) for pid in bombs) and not [group for group in mine if Path(group).exists()]


@pytest.mark.parametrize(
    ("controller", "file", "word"), [("freezer", "freezer.state", "FROZEN"), ("", "cgroup.freeze", "1")]
)
def test_what_is_frozen_ends_at_its_limit_and_with_its_world(controller: str, file: str, word: str) -> None:
    group = f"{hierarchy(controller)}/z"
    freeze = f"mkdir -p {group}/y; echo $$ > {group}/y/cgroup.procs; echo {word} > {group}/{file}; echo not frozen"
    with World() as world:
        done = world.run(["sh", "-c", freeze], timeout=0.3)
        assert done.timed_out and (done.out, done.code) == ("", -9)
        world.run(["sh", "-c", f"echo THAWED > {group}/{file} || echo 0 > {group}/{file}"])
        world.start(["sh", "-c", f"sleep 1000 & {freeze}"])
        eventually(lambda: (group_outside(world, group) / file).read_text().strip() == word)
        frozen = [world.host_pid(process.pid) for process in world.processes()]
        assert len(frozen) >= 2
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not any(alive(pid) for pid in frozen)


def group_outside(world: World, inside: str) -> Path:
    return next(directory for directory, seen in world.subtree.groups() if seen == inside)


def test_all_ends_with_the_world_also_when_the_test_fails() -> None:
    with pytest.raises(ZeroDivisionError), World() as world:
        world.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"])
        inside = [world.host_pid(process.pid) for process in world.processes()]
        mine = groups_of(world)
        assert len(inside) == 2 and mine and all(map(alive, inside))
        raise ZeroDivisionError
    assert not any(map(alive, inside)) and not [group for group in mine if Path(group).exists()]


@pytest.mark.parametrize("frozen", [False, True])
def test_what_a_killed_harness_leaves_ends_and_is_swept_by_the_next(frozen: bool) -> None:
    freeze = (
        f"cd {hierarchy('freezer')}; mkdir z; echo $$ > z/cgroup.procs; echo FROZEN > z/freezer.state"
        if frozen
        else ":"
    )
    script = f"""from harness.world import World
with World() as w:
    w.start(["sh", "-c", "{freeze}; sleep 1000"])
    print(w.host_pid(1), w.subtree.name, flush=True)
    input()"""
    killed = subprocess.Popen(
        [sys.executable, "-c", script], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout
    pid, name = killed.stdout.readline().split()
    left = {group for group in groups_on_the_machine() if group.endswith(name)}
    assert alive(int(pid)) and left
    with World():
        pass
    assert left <= groups_on_the_machine()  # whose harness lives is left alone
    if frozen:
        state = Path(hierarchy("freezer"), name, "z/freezer.state")
        eventually(lambda: state.exists() and state.read_text() == "FROZEN\n")
    killed.kill()
    killed.communicate()

    def swept() -> bool:
        with World():
            return not left & groups_on_the_machine()

    eventually(swept)
    assert not alive(int(pid))


# Looks


def empty_look() -> Look:
    return Look((), (), (), {}, (), (), (), (), ())


def test_nothing_differs_when_nothing_was_done(world: World) -> None:
    before = look_at(world)
    assert world.run(["sh", "-c", "mkdir x; mount -t tmpfs none x; unshare -mnp -f true; umount x; rmdir x"]).code == 0
    assert difference(before, look_at(world)) == []
    assert before.mounts and before.cgroups and before.namespaces and before.links and before.addresses  # it did look


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("mkdir m; mount -t tmpfs none m", "a mount stayed: /root/m (tmpfs)"),
        ("mount -t tmpfs none /root", "a mount stayed: /root (tmpfs)"),
        ("sleep 1000 >/dev/null 2>&1 &", "a process stayed: 3 sleep 1000"),
        ("mkdir {cgroup}/zocker", "a cgroup stayed: {cgroup}/zocker"),
        ("mkdir -p {cgroup}/zocker/12", "a cgroup stayed: {cgroup}/zocker/12"),
        ("unshare -m sh -c 'sleep 1000 & ' >/dev/null 2>&1", "a namespace is held open: mnt:["),
        ("unshare -p sh -c 'sleep 1000 & ' >/dev/null 2>&1", "a namespace is held open: pid:["),
        ("touch n; unshare --net=/root/n true", "a namespace is held open: net:["),
        ("touch n; unshare --net=/root/n true", "] by the mount /root/n"),
        ("touch n; unshare --net=/root/n true", "a mount stayed: /root/n (nsfs)"),
        ("mkdir -p writeLayer/c1; touch writeLayer/c1/x", "a file stayed: /root/writeLayer/c1/x"),
        ("mkdir -p mnt/c1", "a file stayed: /root/mnt/c1/"),
        ("ln -s /etc /var/run/x", "a file stayed: /var/run/x"),
        ("mkdir /run/x; touch /run/x/y", "a file stayed: /var/run/x/y"),
        ("ip link add dev br0 type bridge", "a network link stayed: br0 (bridge)"),
        ("ip link add veth0 type veth peer name veth1", "a network link stayed: veth1 (veth)"),
        ("ip addr add 10.9.8.7/24 dev lo", "a network address stayed: 10.9.8.7/24 on lo"),
        ("ip addr add fd00::7/64 dev lo", "a network address stayed: fd00::7/64 on lo"),
        ("ip addr del 127.0.0.1/8 dev lo", "a network address is gone: 127.0.0.1/8 on lo"),
        ("ip netns add new", "a named network namespace stayed: new"),
        ("ip netns add new", "a mount stayed: /run/netns/new (nsfs)"),
    ],
)  # fmt: skip
def test_each_kind_of_leftover_is_named(world: World, script: str, sentence: str) -> None:
    cgroup = init.cgroup_mounts()[0][0]
    before = look_at(world)
    assert world.run(["sh", "-c", script.format(cgroup=cgroup)]).code == 0
    found = difference(before, look_at(world))
    assert any(sentence.format(cgroup=cgroup) in line for line in found), found


@pytest.mark.parametrize(
    ("before", "script", "sentence"),
    [
        ("", "umount -l /dev/shm", "a mount is gone: /dev/shm ("),
        ("touch .here", "rm .here", "a file is gone: /root/.here"),
        ("ip link add br0 type bridge", "ip link del br0", "a network link is gone: br0 (bridge)"),
        ("", "ip addr del 127.0.0.1/8 dev lo", "a network address is gone: 127.0.0.1/8 on lo"),
        ("ip netns add n", "ip netns del n", "a named network namespace is gone: n"),
    ],
)
def test_what_was_there_and_is_gone_is_named(world: World, before: str, script: str, sentence: str) -> None:
    output(world, before)
    look = look_at(world)
    output(world, script)
    assert [line for line in difference(look, look_at(world)) if line.startswith(sentence)]


def test_files_are_looked_for_where_one_says(world: World) -> None:
    before = look_at(world, files_under=("/var/lib", "/nowhere"))
    assert (
        world.run(
            [
                "sh",
                "-c",
                "touch /var/lib/a /root/b; mkdir /var/lib/m; mount -t tmpfs none /var/lib/m; touch /var/lib/m/c",
            ]
        ).code
        == 0
    )
    found = difference(before, look_at(world, files_under=("/var/lib", "/nowhere")))
    assert found == ["a mount stayed: /var/lib/m (tmpfs)", "a file stayed: /var/lib/a", "a file stayed: /var/lib/m/"]


def test_the_kernels_own_addresses_are_no_leftover(world: World) -> None:
    """A link has one of fe80::/10 some time after it is up: who made the link before the look is not to be blamed for it."""
    output(world, "ip link add a0 type veth peer name a1; ip link set a0 up")
    before = look_at(world)
    output(world, "ip link set a1 up")
    eventually(lambda: "inet6 fe80" in output(world, "ip addr show a0"))
    assert difference(before, look_at(world)) == []


@pytest.mark.parametrize(
    ("known", "script", "named"),
    [
        (
            "nft list ruleset",
            "nft add table ip nat; nft add chain ip nat post; nft add rule ip nat post ip saddr 10.0.0.0/24 counter masquerade",
            "table ip nat / chain post / ip saddr 10.0.0.0/24 counter masquerade",
        ),
        (
            "iptables-legacy -S",
            "iptables-legacy -A INPUT -s 10.0.0.1 -j DROP",
            "iptables -A INPUT -s 10.0.0.1/32 -j DROP",
        ),
        ("ip6tables-legacy -S", "ip6tables-legacy -A INPUT -j DROP", "ip6tables -A INPUT -j DROP"),
    ],
)
def test_a_firewall_rule_is_named(world: World, known: str, script: str, named: str) -> None:
    if world.run(known.split()).code:
        pytest.skip(f"there is no {known.split()[0]} here, or this kernel knows no such rules")
    before = look_at(world)
    output(world, script)
    assert difference(before, look_at(world)) == [f"a firewall rule stayed: {named}"]
    assert difference(look_at(world), before) == [f"a firewall rule is gone: {named}"]


def test_without_nft_another_tool_is_asked(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without any there are no rules to compare, and all else is compared as ever."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(network, "_nftables", lambda: True)  # as if somebody had made a table, which takes a tool
    assert not look_at(world).rules and look_at(world).links
    (tmp_path / "iptables-nft-save").write_text(
        "#!/bin/sh\necho '# now\n*nat\n:POST ACCEPT [3:180]\n-A POST -j MASQUERADE\nCOMMIT'\n"
    )
    (tmp_path / "iptables-nft-save").chmod(0o755)
    assert look_at(world).rules == ("iptables -A POST -j MASQUERADE",)


# What can't be


def test_what_is_missing_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(init, "cgroup_mounts", lambda: [])
        with pytest.raises(WorldError, match="no control groups are mounted at /sys/fs/cgroup"), World():
            pass
    with monkeypatch.context() as changed:
        changed.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(WorldError, match="needs root"), World():
            pass
    with monkeypatch.context() as changed:
        token = secrets.token_hex(6)
        changed.setattr(secrets, "token_hex", lambda _: token)
        changed.setattr(init, "__file__", "/nowhere/init.py")
        with pytest.raises(WorldError, match=r"the world can't be made: .*No module named 'init'"), World():
            pass
        assert not [group for group in groups_on_the_machine() if group.endswith(token)]


def test_init_does_nothing_when_it_is_not_the_first_process() -> None:
    done = subprocess.run(
        [sys.executable, "-IS", init.__file__], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "init.py is the first process of a world, and nothing else\n")


@pytest.mark.parametrize("place", ["/root", "/var/lib"])
def test_a_directory_that_is_kept_is_the_machines_own(tmp_path: Path, place: str) -> None:
    """Also below those that are the world's own, and without what lies beside it."""
    with World(kept=[str(tmp_path)]) as outer:  # a machine whose /root we may write to
        script = f"""
            import sys; sys.path.insert(0, {str(CHECKOUT)!r})
            import os; from harness.world import World
            os.makedirs("{place}/kept/deep"); os.mkdir("{place}/beside")
            with World(kept=["{place}/kept", "/usr"]) as world:
                print(world.run(["sh", "-c", "echo in >{place}/kept/file; ls {place} {place}/kept"]).out)
                print([line for line in world.mountinfo() if " /usr " in line])
            print(open("{place}/kept/file").read())
        """
        shown = outer.run([sys.executable, "-c", textwrap.dedent(script)], env=dict(os.environ))
    assert shown.out.split() == [f"{place}:", "kept", f"{place}/kept:", "deep", "file", "[]", "in"], shown


def test_a_command_may_have_our_own_streams() -> None:
    """`harness.inside`: it is in a world, with our input, output, environment and directory; and its end is ours."""
    words = [sys.executable, "-m", "harness.inside", "sh", "-c"]
    how = {"cwd": CHECKOUT, "capture_output": True, "text": True, "input": "given", "env": {**os.environ, "ONE": "1"}}
    done = subprocess.run([*words, "cat; pwd; echo $ONE $$ >&2; exit 7"], **how)  # type: ignore[call-overload]
    assert (done.returncode, done.stdout, done.stderr) == (7, f"given{CHECKOUT}\n", "1 2\n")
    assert subprocess.run([*words, "kill -9 $$"], **how).returncode == 128 + 9  # type: ignore[call-overload]
    done = subprocess.run([*words[:-2], "/nosuch"], **how)  # type: ignore[call-overload]
    assert (done.returncode, done.stderr) == (127, "/nosuch: No such file or directory\n")


def test_a_world_whose_init_was_killed_says_so(world: World) -> None:
    os.kill(world.host_pid(1), signal.SIGKILL)
    with pytest.raises(WorldError, match=r"the world has ended|could not be started"):
        world.run(["true"])


# Our own runtime in it


def zocker(world: World, *words: str) -> str:
    done = world.run([str(STAGES), "run", "5.8", "--", *words])
    assert (done.code, done.err, done.held) == (0, "", False), done
    return done.out


def test_our_runtime_works_in_a_world(world: World) -> None:
    """`run`, limits, `-d`, `exec`, `commit`, `rm`; and D12: on the host the container's parent is 1."""
    zocker(world, "run", "busybox", "true")
    before = look_at(world, files_under=("/root/mnt", "/root/writeLayer", "/var/run/zocker"))
    token = secrets.token_hex(8)
    assert zocker(world, "run", "busybox", "echo", token) == f"{token}\n"
    zocker(world, "run", "-d", "--name", "c1", "-m", "100m", "-cpuset", "0", "busybox", "top", "-b")
    (top,) = [process for process in world.processes() if process.cmdline == ("top", "-b")]
    assert top.ppid == 1 and top.nspid == (top.pid, 1)
    assert "Cpus_allowed_list:\t0\n" in (world.proc(top.pid) / "status").read_text()
    assert [line.split(" ")[4] for line in world.mountinfo(top.pid)][:1] == ["/"]
    assert zocker(world, "exec", "c1", "sh", "-c", f"echo {token} > /{token}; hostname") != ""
    assert world.path(f"/root/writeLayer/c1/{token}").read_text() == f"{token}\n"
    archive = zocker(world, "commit", "c1", "new").strip()
    assert token in output(world, f"tar tf {archive}")
    found = difference(before, look_at(world, files_under=("/root/mnt", "/root/writeLayer", "/var/run/zocker")))
    for sentence in (
        "a mount stayed: /root/mnt/c1 (overlay)",
        f"a process stayed: {top.pid} top -b",
        "a file stayed: /var/run/zocker/c1/",
    ):
        assert sentence in found
    assert any(line.startswith("a cgroup stayed: ") and "/zocker/" in line for line in found)
    zocker(world, "rm", "-f", "c1")
    assert difference(before, look_at(world, files_under=("/root/mnt", "/root/writeLayer", "/var/run/zocker"))) == []


def test_our_runtime_works_on_a_terminal_in_a_world(world: World) -> None:
    zocker(world, "run", "busybox", "true")
    running = world.start([str(STAGES), "run", "5.8", "--", "run", "-ti", "busybox", "sh"], terminal=True)
    token = secrets.token_hex(8)
    running.type(f"tty; echo {token[:8]}''{token[8:]}\n")
    eventually(lambda: token in running.screen())
    running.type("exit 5\n")
    assert running.wait().code == 5
