"""What an error, or a mount in a check's table, means: said where it is understood, and only there."""

import pytest

from harness import meanings
from harness.expect import BAD, GOOD, MISSING, Row


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("pivot_root: Invalid argument", "a mount point"),
        ('level=error msg="pivot_root invalid argument"', "a mount point"),
        ("PivotRoot failed: EINVAL", "a mount point"),
        ("  libc.pivot_root(new, old)\nOSError: [Errno 22] Invalid argument", "a mount point"),
        ('pivot_root: Os { code: 16, message: "Device or resource busy" }', "on the same mount"),
        ("umount: /root/mnt/bird: target is busy.", "Somebody uses"),
        ("umount: /root/mnt/bird: not mounted.", "Nothing is mounted"),
        ("mount: /root/mnt: unknown filesystem type 'aufs'.", "aufs"),
        ("mount: mounting none on /root/mnt failed: No such device", "does not know this type"),
        ("mount -t overlay /root/mnt: Invalid argument", "an empty workdir"),
        ("mount /proc: no such file or directory", "The directory /proc is not there"),
        ("Error, do this: mount -t proc proc /proc", "`ps` finds nothing"),
        ("ps: can't open '/proc': No such file or directory", "`ps` finds nothing"),
        ("/sys/fs/cgroup/cpuset/bird/cgroup.procs: No space left on device", "cpuset.mems is empty"),
        ("/sys/fs/cgroup/cpuset/bird/cpuset.cpus: Permission denied", "that its parent has"),
        ("rmdir /sys/fs/cgroup/memory/bird: device or resource busy", "no process is in it"),
        ("/sys/fs/cgroup/bird/cgroup.subtree_control: Device or resource busy", "no internal processes"),
        ("/sys/fs/cgroup/bird/memory.max: No such file or directory", "subtree_control"),
        ("/sys/fs/cgroup/memory/bird/cgroup.procs: No such process", "no process of this number"),
        ("setns mnt: invalid argument", "several threads"),
        ("fork/exec /proc/self/exe: no such file or directory", "mounted its own /proc over the host's"),
        ("open /proc/4711/ns/ipc: no such file or directory", "There is no such process any more"),
        ("sh: 1: Cannot fork", "the first process of that pid namespace has ended"),
        ("fork: Cannot allocate memory", "the first process of that pid namespace has ended"),
        ("unshare: unshare failed: Operation not permitted", "root with all capabilities"),
        ("rmdir /root/mnt/bird: Device or resource busy", "A mount point can't be removed"),
        ("mkdir /root/mnt/bird: file exists", "It is there already"),
        ("rename /var/tmp/x /root/image1.tar: invalid cross-device link", "Not across mounts"),
        ('exec: "sh": executable file not found in $PATH', "no such program in the new root"),
        ("exec sh: no such file or directory", "no such program in the new root"),
        ("wait: no child processes", "Only its parent can wait"),
    ],
)
def test_an_error_that_names_its_call_is_explained(output: str, says: str) -> None:
    (sentence,) = meanings.of_output(["before", *output.splitlines(), "after"])
    assert says in sentence and output.splitlines()[-1].strip() in sentence


@pytest.mark.parametrize(
    "output",
    [
        "",
        "cat: /tmp/x: No such file or directory",  # the container's own affair
        "mount -t overlay none /root/mnt\ncat: /tmp/x: No such file or directory",  # and no business of the line before
        "the mount is at /root/mnt",
        "SEINVALID pivot_root",
    ],
)
def test_what_is_no_error_of_a_call_is_not(output: str) -> None:
    assert meanings.of_output(output.splitlines()) == []


PROC = "612 598 0:57 / /proc rw,nosuid shared:33 master:4 - proc proc rw"
LAYERS = "613 598 0:58 / / rw,relatime - overlay none rw,lowerdir=/root/busybox,upperdir=/root/writeLayer/bird"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (Row(BAD, None, PROC), ["type proc shows", "`shared:N`", "`master:N`"]),
        (Row(BAD, LAYERS, PROC), ["type proc shows", "`shared:N`", "`master:N`"]),
        (Row(MISSING, LAYERS, None), ["type overlay is a union"]),
        (Row(MISSING, "/proc (proc)", None), ["type proc shows"]),
        (Row(BAD, None, "a mount stayed: /root/mnt (overlay)"), ["type overlay is a union"]),
        (Row(GOOD, PROC, PROC), []),
        (Row(BAD, "/proc", "/"), []),
        (Row(BAD, None, "a process stayed: 17 sleep 5 (a zombie)"), []),
    ],
)
def test_a_mount_that_is_not_as_expected_is_explained(row: Row, says: list[str]) -> None:
    sentences = meanings.of_rows([row])
    assert len(sentences) == len(says)
    assert all(words in sentence for words, sentence in zip(says, sentences, strict=True))


def test_not_more_is_explained_than_one_wants_to_read() -> None:
    rows = [Row(BAD, None, f"/x ({kind})") for kind in meanings.KNOWN["type"]]
    assert len(meanings.of_rows(rows[: meanings.MOST])) == meanings.MOST
    assert len(meanings.of_rows(rows)) == 1
    errors = next(errors for words, errors in meanings.CALLS if words.search("a cgroup"))
    assert len(meanings.of_output([f"cgroup {name}" for name in errors])) == meanings.MOST < len(errors)
