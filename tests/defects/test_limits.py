"""Defects 20 to 23 of the tutorial's programs: limits that leaked, did nothing, or were ignored in silence."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result, Stage, eventually

Chapter = Callable[[str], Stage]


def refused(result: Result, code: int = 125) -> Result:
    """The program refused: that exit code, one sentence, nothing on standard output."""
    assert result.code == code, result
    assert result.err.count("\n") == 1 and result.err.endswith("\n"), result
    assert "Traceback" not in result.err and len(result.err) > 20, result
    assert result.out == "", result
    return result


def detached(zocker: Stage, name: str, *options: str) -> int:
    """Run a detached container and return its PID 1 as the host counts it."""
    done = zocker("run", "-d", "--name", name, *options, "busybox", "sleep", "1000")
    assert done.code == 0, done
    return zocker.pid(name)


def groups_of(pid: int) -> "dict[str, str]":
    """Hierarchy (`memory`, or empty for v2) to the group that the process is in, as the kernel says."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    return {controllers: path for _, controllers, path in lines}


def directories_of(pid: int) -> "list[Path]":
    """The group's directories in the hierarchies in which the process is below `zocker`."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if kind[0] not in ("cgroup", "cgroup2"):
            continue
        options = kind[2].split(",")
        for controllers, path in groups_of(pid).items():
            same = kind[0] == "cgroup2" if not controllers else any(word in options for word in controllers.split(","))
            if same and "/zocker/" in path and (kind[0] == "cgroup2") == (controllers == ""):
                found.append(Path(fields[4]) / path.lstrip("/"))
    return found


def value(pid: int, *names: str) -> str:
    """The first of these files that one of the process' groups has."""
    for directory in directories_of(pid):
        for name in names:
            if (directory / name).exists():
                return (directory / name).read_text().strip()
    return ""


def cpus_allowed(pid: int) -> str:
    """The CPUs on which the kernel lets the process run."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in status if line.startswith("Cpus_allowed_list:"))


def test_each_container_has_groups_of_its_own(stage: Chapter) -> None:
    """Defect 20: one cgroup for all containers, so limits leaked from one to another."""
    zocker = stage("5.8")
    limited = detached(zocker, "limited", "-m", "100m", "-cpushare", "512", "-cpuset", "0")
    other = detached(zocker, "other", "-m", "50m")
    free = detached(zocker, "free")
    assert [value(pid, "memory.max", "memory.limit_in_bytes") for pid in (limited, other)] == ["104857600", "52428800"]
    assert value(free, "memory.max", "memory.limit_in_bytes") in ("", "max")
    assert value(limited, "cpu.shares") == "512" or value(limited, "cpu.weight") == "20"
    assert value(other, "cpu.shares", "cpu.weight") in ("", "100", "1024")
    assert cpus_allowed(limited) == "0" and cpus_allowed(free) == cpus_allowed(os.getpid())
    mine = [set(directories_of(pid)) for pid in (limited, other, free)]
    assert all(mine) and not mine[0] & mine[1] and not mine[0] & mine[2] and not mine[1] & mine[2]


def test_no_limit_is_left_for_the_next_container(stage: Chapter) -> None:
    """Defect 20: the next container that asked for no limit had the last one's."""
    for chapter, image in (("3.2", []), ("4.2", []), ("5.8", ["busybox"])):
        program = stage(chapter)
        assert program("run", "-m", "64m", "-cpuset", "0", *image, "true").code == 0
        script = "cat /proc/self/cgroup; grep Cpus_allowed_list /proc/self/status"
        lines = program("run", *image, "sh", "-c", script).lines
        assert lines[-1].split()[1] == cpus_allowed(os.getpid())
        assert not [line for line in lines if ("memory" in line or "cpuset" in line) and "/zocker/" in line]


def test_a_process_from_exec_is_in_the_containers_groups(stage: Chapter) -> None:
    """Defect 20: exec'd processes were outside, and so without limits."""
    zocker = stage("5.8")
    pid = detached(zocker, "one", "-m", "100m", "-cpushare", "512", "-cpuset", "0")
    joined = zocker("exec", "one", "sh", "-c", "cat /proc/self/cgroup; grep Cpus_allowed_list /proc/self/status")
    assert sorted(joined.lines[:-1]) == sorted(Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    assert joined.lines[-1].split()[1] == "0"
    assert len([line for line in joined.lines if "/zocker/" in line]) >= 1


def test_the_memory_limit_is_one(stage: Chapter) -> None:
    """Defect 20: who takes more than his limit is ended, in run and in exec, and no other container is."""
    zocker = stage("5.8")
    hungry = ["awk", 'BEGIN { x = "0123456789abcdef"; while (length(x) < 200000000) x = x x; print length(x) }']
    assert zocker("run", "-m", "300m", "busybox", "true").code == 0
    assert zocker("run", "-m", "30m", "busybox", *hungry).code == 137
    bystander = detached(zocker, "bystander", "-m", "30m")
    detached(zocker, "one", "-m", "30m")
    assert zocker("exec", "one", *hungry).code == 137
    os.kill(bystander, 0)


@pytest.mark.parametrize("chapter", ["3.2", "3.3", "4.1", "5.8"])
def test_the_cpuset_takes_effect(stage: Chapter, chapter: str) -> None:
    """Defect 21: -cpuset never took effect, since cpuset.mems was not set."""
    program, last = stage(chapter), sorted(os.sched_getaffinity(0))[-1]
    image = ["busybox"] if chapter == "5.8" else []
    # In 3.2 the command does not wait for its limits yet: it asks until they hold.
    script = f"""
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            grep -E '^Cpus_allowed_list:[^0-9]*{last}$' /proc/self/status && exit; sleep 0.1
        done; cat /proc/self/status; exit 1"""
    if chapter != "3.2":
        script = "grep Cpus_allowed_list /proc/self/status"
    done = program("run", "-cpuset", str(last), *image, "sh", "-c", script)
    assert done.code == 0 and done.out.split() == ["Cpus_allowed_list:", str(last)], done


BAD_LIMITS = {
    "-m": ["", "m", "0", "1", "5m", "-1", "1.5g", "100x", "100mm", "1e9", "lots", " 100m", "٣0m", "1\n2", "9" * 30],
    "-cpushare": ["", "0", "1", "-5", "1.5", "many", "262145", "9" * 30, "512m", "1\n2"],
    "-cpuset": ["", "x", "-1", "0-", "1-0", "0,,1", "9999", "0-9999", "0;1", "0 1", "9" * 30, "0\n", "0\n1"],
}


@pytest.mark.parametrize("option", BAD_LIMITS)
def test_a_bad_limit_is_refused(stage: Chapter, root: Path, state: Path, option: str) -> None:
    """Defect 22: bad values were ignored in silence."""
    for value in BAD_LIMITS[option]:
        assert option in refused(stage("5.8")("run", option, value, "busybox", "echo", "ran")).err, value
        assert option in refused(stage("3.2")("run", option, value, "echo", "ran")).err, value
    assert os.listdir(root) == [] and not state.exists()


def test_both_versions_of_control_groups_are_used_as_the_machine_has_them(stage: Chapter) -> None:
    """Defect 23: no cgroup v2 in two of the tutorial's programs."""
    zocker = stage("5.8")
    pid = detached(zocker, "one", "-m", "100m", "-cpushare", "512", "-cpuset", "0")
    has_v2 = any(" - cgroup2 " in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
    groups = groups_of(pid)
    if has_v2:
        assert groups[""].startswith("/zocker/") or "/zocker/" in groups[""], groups
    directories = directories_of(pid)
    assert all(str(pid) in (directory / "cgroup.procs").read_text().split() for directory in directories)
    assert value(pid, "memory.max", "memory.limit_in_bytes") == "104857600"
    assert value(pid, "memory.swap.max", "memory.memsw.limit_in_bytes") in ("0", "104857600", "")
    assert cpus_allowed(pid) == "0"
    # what weight a number of shares is in v2: the ends and Docker's default
    from stages.kernel.cgroups import weight_of

    assert [weight_of(shares) for shares in (2, 1024, 262144)] == [1, 39, 10000]
    assert zocker("rm", "-f", "one").code == 0
    eventually(lambda: not any(directory.exists() for directory in directories))


def test_a_tree_of_processes_stays_in_its_group_and_ends_with_it(stage: Chapter) -> None:
    """Defects 20 and 23: children are born into the group; rm -f ends them all and takes the groups away."""
    zocker = stage("5.8")
    script = "for i in 1 2 3; do (setsid sleep 1000 &) ; done; sleep 1000"
    assert zocker("run", "-d", "--name", "one", "-m", "100m", "busybox", "sh", "-c", script).code == 0
    directories = directories_of(zocker.pid("one"))
    assert len(directories) >= 1
    eventually(lambda: all(len((each / "cgroup.procs").read_text().split()) >= 4 for each in directories))
    processes = [int(pid) for pid in (directories[0] / "cgroup.procs").read_text().split()]
    assert zocker("rm", "-f", "one").code == 0
    assert not any(
        Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes
    )
    assert not any(each.exists() for each in directories)
