"""Our tar against GNU tar: what one writes the other must read, entry for entry."""

import errno
import os
import random
import resource
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.kernel import tar, tarheaders
from stages.kernel.errors import Failure
from stages.kernel.trees import remove_tree

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# An ACL as the kernel keeps it (version 2): user::rwx, user:1234:r--, group::r-x, mask::r-x, other::r-x
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *e)
    for e in ((1, 7, 0xFFFFFFFF), (2, 4, 1234), (4, 5, 0xFFFFFFFF), (16, 5, 0xFFFFFFFF), (32, 5, 0xFFFFFFFF))
)
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep


def look(top: str | Path) -> dict[bytes, tuple[object, ...]]:
    """Everything below `top` that an archive should keep, by name."""
    seen: dict[bytes, tuple[object, ...]] = {}
    first: dict[tuple[int, int], bytes] = {}
    todo = [b""]
    while todo:
        prefix = todo.pop()
        for name in sorted(os.listdir(os.path.join(os.fsencode(top), prefix))):
            path = prefix + name
            full = os.path.join(os.fsencode(top), path)
            status = os.lstat(full)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(full)).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(full)
            elif stat.S_ISDIR(status.st_mode):
                todo.append(path + b"/")
            else:
                content = status.st_rdev
            xattrs = {x: os.getxattr(full, x, follow_symlinks=False) for x in os.listxattr(full, follow_symlinks=False)}
            seen[path] = (
                *(
                    oct(status.st_mode),
                    status.st_uid,
                    status.st_gid,
                    status.st_mtime_ns // 10**9,
                    content,
                    xattrs,
                ),
                first.setdefault((status.st_dev, status.st_ino), path) if not stat.S_ISDIR(status.st_mode) else None,
            )
    # The names of one file, whichever was met first.
    same: dict[object, list[bytes]] = {}
    for path, entry in seen.items():
        same.setdefault(entry[-1] or path, []).append(path)
    return {path: (*entry[:-1], sorted(same[entry[-1] or path])) for path, entry in seen.items()}


def random_tree(top: str, seed: int, size: int = 120) -> None:
    """Make below `top` everything that a file system can hold and a tar has trouble with."""
    dice = random.Random(seed)
    root = os.fsencode(top)
    directories, files = [root], []
    letters = [
        b"a",
        b"B",
        b"-",
        b" ",
        b"\n",
        b"'",
        b"\\",
        b"*",
        b"%",
        b"=",
        b".",
        "é".encode(),
        "漢".encode(),
        b"\xff",
    ]

    def new() -> bytes:
        length = dice.choice((1, 2, 5, 20, 50, 60))
        name = b"".join(dice.choice(letters) for _ in range(length)) + b"%d" % dice.randrange(10**6)
        return os.path.join(dice.choice(directories), name)

    def size_of_file() -> int:
        return dice.choice((0, 1, 511, 512, 513, 5000, 262143, 262144, 262145, 900_000))

    for _ in range(size):
        path = new()
        kind = dice.randrange(10)
        if kind < 2:
            os.mkdir(path)
            directories.append(path)
        elif kind < 5:
            Path(os.fsdecode(path)).write_bytes(dice.randbytes(size_of_file()))
            files.append(path)
        elif kind < 6:
            os.symlink(dice.choice((b"/etc/passwd", b"..", b"x" * 100, b"y" * 101, b"\xfe/" * 300, b"nowhere")), path)
            files.append(path)
        elif kind < 8 and files:
            os.link(dice.choice(files), path, follow_symlinks=False)
            continue
        elif kind < 9:
            os.mkfifo(path)
        else:
            what = dice.choice((stat.S_IFCHR, stat.S_IFBLK))
            os.mknod(path, what | 0o600, os.makedev(dice.randrange(4096), dice.randrange(1 << 20)))
        link = os.path.islink(path)
        owners = (0, 1, 1000, 65534, 2097151, 2097152, 2**32 - 2)
        os.chown(path, dice.choice(owners), dice.choice(owners), follow_symlinks=False)
        if not link:
            os.chmod(path, dice.choice((0, 0o644, 0o755, 0o1777, 0o4755, 0o2711, 0o6755, 0o7777)))
        if kind < 5 and dice.random() < 0.4:
            os.setxattr(path, "user.empty", b"")
            os.setxattr(path, "user.a=b%3D", dice.randbytes(dice.choice((1, 80, 90, 980, 1000))))
            os.setxattr(path, "trusted.not-kept", b"x")
            if kind >= 2:
                os.setxattr(path, "security.capability", CAPABILITY)
    for path in directories[1:] + files:
        when = dice.choice((0, 1, -1, -86400 * 365 * 40, 1700000000, 2**33 - 1, 2**33, 2**33 + 5))
        os.utime(path, ns=(0, when * 10**9 + dice.choice((0, 999_999_999))), follow_symlinks=False)


def without_trusted(seen: dict[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
    kept = {}
    for path, (*rest, xattrs, names) in seen.items():
        assert isinstance(xattrs, dict)
        kept[path] = (*rest, {x: v for x, v in xattrs.items() if not x.startswith("trusted.")}, names)
    return kept


def write(top: Path | str, archive: Path) -> None:
    out = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        tar.write_tree(str(top), out)
    finally:
        os.close(out)


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive, "r:", encoding="utf-8") as opened:
        return opened.getnames()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


@pytest.mark.parametrize("seed", range(6))
def test_gnu_tar_reads_back_every_entry_of_a_random_tree(top: Path, tmp_path: Path, seed: int) -> None:
    random_tree(str(top), seed)
    write(top, tmp_path / "ours.tar")
    (tmp_path / "back").mkdir()
    command: list[str | Path] = [
        "tar",
        "-C",
        tmp_path / "back",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
    ]
    # Without its words about an "implausibly old time stamp".
    subprocess.run([*command, "-xpf", tmp_path / "ours.tar"], check=True, stderr=subprocess.DEVNULL)
    expected = without_trusted(look(top))
    assert len(expected) > 60
    assert look(tmp_path / "back") == expected


@pytest.mark.parametrize("seed", range(6, 10))
def test_gnu_tar_lists_our_archive_line_for_line_as_its_own(top: Path, tmp_path: Path, seed: int) -> None:
    random_tree(str(top), seed)
    write(top, tmp_path / "ours.tar")
    subprocess.run(["tar", "-C", top, "--sort=name", "-cf", tmp_path / "gnu.tar", "."], check=True)
    listings = []
    for archive in ("ours.tar", "gnu.tar"):
        command: list[str | Path] = [
            "tar",
            "--numeric-owner",
            "--full-time",
            "--quoting-style=escape",
            "-tvf",
            tmp_path / archive,
        ]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        listings.append([line.replace(" ./", " ") for line in lines])
    assert listings[1].pop(0).endswith(" ")  # the entry of ./ itself
    assert len(listings[0]) > 60
    assert listings[0] == listings[1]


def test_the_same_tree_made_in_another_order_gives_the_same_bytes(tmp_path: Path) -> None:
    archives = []
    for order in (1, -1):
        top = tmp_path / f"top{order}"
        top.mkdir()
        for name in ("b", "a", "é", "B", "z-1", "z", "z.1")[::order]:
            (top / name).mkdir()
            (top / name / "file").write_text(name)
            os.utime(top / name / "file", (7, 7))
            os.utime(top / name, (7, 7))
        write(top, tmp_path / "ours.tar")
        archives.append((tmp_path / "ours.tar").read_bytes())
    assert len(archives[0]) > 14 * 512
    assert archives[0] == archives[1]


def test_names_are_relative_and_sorted_and_directories_come_before_what_is_in_them(top: Path, tmp_path: Path) -> None:
    for name in ("usr", "bin"):
        (top / name).mkdir()
        (top / name / "sh").write_text("x")
    write(top, tmp_path / "ours.tar")
    listed = subprocess.run(["tar", "-tf", tmp_path / "ours.tar"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["bin/", "bin/sh", "usr/", "usr/sh"]


def test_an_empty_tree_is_an_archive_without_entries(top: Path, tmp_path: Path) -> None:
    write(top, tmp_path / "ours.tar")
    assert (tmp_path / "ours.tar").read_bytes() == bytes(1024)


def test_acls_are_kept_and_trusted_attributes_are_not(top: Path, tmp_path: Path) -> None:
    for path in (top / "file", top / "fifo", top / "directory"):
        if path.name == "file":
            path.touch()
        elif path.name == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
            os.setxattr(path, "system.posix_acl_default", ACL)
        os.setxattr(path, "system.posix_acl_access", ACL)
        os.setxattr(path, "trusted.overlay.opaque", b"y")
    write(top, tmp_path / "ours.tar")
    with tarfile.open(tmp_path / "ours.tar") as archive:
        kept = {m.name: set(m.pax_headers) for m in archive}
    access = "SCHILY.xattr.system.posix_acl_access"
    default = "SCHILY.xattr.system.posix_acl_default"
    assert kept == {"file": {access}, "fifo": {access}, "directory": {access, default}}


def test_a_socket_is_left_out(top: Path, tmp_path: Path) -> None:
    (top / "file").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(top / "socket"))
        write(top, tmp_path / "ours.tar")
    assert names_in(tmp_path / "ours.tar") == ["file"]


def test_a_symlink_is_packed_and_not_what_it_points_to(top: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("x")
    (top / "link").symlink_to(tmp_path / "secret")
    write(top, tmp_path / "ours.tar")
    assert names_in(tmp_path / "ours.tar") == ["link"]


def after_listing(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Have somebody do something between the listing of the first directory and the opening of what is in it."""
    original, todo = tar.list_directory, [action]

    def listing(fd: int) -> object:
        found = original(fd)
        if todo:
            todo.pop()()
        return found

    monkeypatch.setattr(tar, "list_directory", listing)


def test_a_directory_that_becomes_a_symlink_meanwhile_is_not_followed(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("x")
    (top / "directory").mkdir()
    (top / "file").touch()
    (top / "last").touch()

    def swap() -> None:
        (top / "directory").rmdir()
        (top / "directory").symlink_to(tmp_path / "secret")
        (top / "file").unlink()
        (top / "file").symlink_to(tmp_path / "secret" / "key")

    after_listing(monkeypatch, swap)
    write(top, tmp_path / "ours.tar")
    assert names_in(tmp_path / "ours.tar") == ["last"]


def test_what_vanishes_meanwhile_is_left_out(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "a-directory").mkdir()
    (top / "a-file").touch()
    (top / "a-link").symlink_to("x")
    (top / "last").touch()

    def vanish() -> None:
        (top / "a-directory").rmdir()
        (top / "a-file").unlink()
        (top / "a-link").unlink()

    after_listing(monkeypatch, vanish)
    write(top, tmp_path / "ours.tar")
    assert names_in(tmp_path / "ours.tar") == ["last"]


def test_a_file_that_becomes_a_fifo_meanwhile_does_not_hold_us_up(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (top / "file").touch()
    (top / "last").touch()

    def swap() -> None:
        (top / "file").unlink()
        os.mkfifo(top / "file")

    after_listing(monkeypatch, swap)
    write(top, tmp_path / "ours.tar")
    assert names_in(tmp_path / "ours.tar") == ["last"]


@pytest.mark.parametrize("size", [700, 600_000])
@pytest.mark.parametrize("becomes", [0, 300, 512, 2_000_000])
def test_a_file_that_changes_its_size_while_it_is_read_does_not_break_the_archive(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, becomes: int
) -> None:
    (top / "first").write_bytes(b"x" * size)
    (top / "second").write_text("whole")
    original = tar.xattr_records

    def resize(
        file: int | bytes,
    ) -> bytes:  # called after the size is announced, and before the content is read
        if os.path.getsize(top / "first") == size:
            os.truncate(top / "first", becomes)
        return original(file)

    monkeypatch.setattr(tar, "xattr_records", resize)
    write(top, tmp_path / "ours.tar")
    (tmp_path / "back").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "back", "-xf", tmp_path / "ours.tar"], check=True)
    kept = min(size, becomes)
    assert (tmp_path / "back" / "first").read_bytes() == b"x" * kept + bytes(size - kept)
    assert (tmp_path / "back" / "second").read_text() == "whole"


@pytest.mark.parametrize("size", [8 * 2**30 - 1, 8 * 2**30, 2**40 + 3])
def test_a_size_over_eight_gigabytes_is_read_back(size: int) -> None:
    header = tarheaders.header(b"big", b"0", 0o644, 0, 0, size, 0)
    assert len(header) == 512
    assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == size


def test_a_tree_deeper_than_the_recursion_and_descriptor_limits_is_packed(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = tmp_path / "top"
    top.mkdir()
    depth = 1300
    here = os.open(top, os.O_RDONLY)
    try:
        for level in range(depth):
            os.mkdir("down", dir_fd=here)
            os.close(os.open(f"z{level}", os.O_CREAT | os.O_WRONLY, dir_fd=here))
            inner = os.open("down", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
        write(top, tmp_path / "ours.tar")
        names = names_in(tmp_path / "ours.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(here)
        remove_tree(str(top))  # pytest's own removal recurses
    assert len(names) == 2 * depth
    assert names[depth - 1] == "/".join(["down"] * depth)  # 6499 bytes: longer than any path may be
    assert names[-1] == "z0"


def test_a_deep_directory_that_is_moved_meanwhile_stops_the_packing(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, "_KEPT_OPEN", 1)
    (top / "a" / "b" / "c").mkdir(parents=True)
    (top / "a" / "b" / "c" / "file").touch()
    (tmp_path / "elsewhere").mkdir()
    original = tar._add_file

    def move(*arguments: object) -> None:
        os.rename(top / "a" / "b" / "c", tmp_path / "elsewhere" / "c")
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tar, "_add_file", move)
    with pytest.raises(Failure, match="'a/b/c/' was moved"):
        write(top, tmp_path / "ours.tar")


@pytest.mark.parametrize("size", [3 << 20, 300 << 10])
def test_a_full_disk_is_the_callers_to_handle(top: Path, tmp_path: Path, size: int) -> None:
    """Also when it is full only for the last that is written, when all has been read."""
    (top / "file").write_bytes(os.urandom(size))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], check=True)
    before = sorted(os.listdir("/proc/self/fd"))
    try:
        with pytest.raises(OSError) as caught:
            write(top, small / "ours.tar")
    finally:
        subprocess.run(["umount", small], check=True)
    assert caught.value.errno == errno.ENOSPC
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_volume_is_packed_with_the_tree_it_is_mounted_in(top: Path, tmp_path: Path) -> None:
    (top / "to1").mkdir()
    (top / "zz").touch()
    (tmp_path / "from1").mkdir()
    (tmp_path / "from1" / "test1.txt").write_text("hello")
    script = 'mount --bind "$1/from1" "$1/top/to1" && exec "$2" -c "$3" "$1/top"'
    program = "import sys; from stages.kernel.tar import write_tree; write_tree(sys.argv[1], 1)"
    command: list[str | Path] = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        tmp_path,
        sys.executable,
        program,
    ]
    packed = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": REPOSITORY})
    (tmp_path / "ours.tar").write_bytes(packed.stdout)
    assert names_in(tmp_path / "ours.tar") == ["to1", "to1/test1.txt", "zz"]


def test_a_pipe_takes_the_archive_too(top: Path, tmp_path: Path) -> None:
    random_tree(str(top), 42)
    write(top, tmp_path / "ours.tar")
    reader, writer = os.pipe()
    with subprocess.Popen(["cat"], stdin=reader, stdout=subprocess.PIPE) as cat:
        os.close(reader)
        pid = os.fork()
        if pid == 0:
            try:
                tar.write_tree(str(top), writer)
            finally:
                os._exit(0)
        os.close(writer)
        assert cat.stdout is not None
        assert cat.stdout.read() == (tmp_path / "ours.tar").read_bytes()
        os.waitpid(pid, 0)


def test_a_descriptor_that_takes_a_part_at_a_time_gets_everything(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (top / "file").write_bytes(os.urandom(300_000))
    write(top, tmp_path / "whole.tar")
    original = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: original(fd, content[:70_001]))
    write(top, tmp_path / "parts.tar")
    assert (tmp_path / "parts.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()


def test_when_packing_ends_nothing_is_being_written_any_more(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could go to the file that next gets the number of the one that was closed."""
    (top / "file").write_bytes(os.urandom(3 << 20))
    original, written = os.write, list[int]()

    def slow(fd: int, content: bytes) -> int:
        time.sleep(0.05)
        written.append(fd)
        return original(fd, content)

    monkeypatch.setattr(os, "write", slow)
    monkeypatch.setattr(tar.Archive, "finish", lambda archive: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        write(top, tmp_path / "ours.tar")
    at_the_end = len(written)
    time.sleep(0.2)
    assert written and len(written) == at_the_end


def test_the_length_of_a_pax_record_counts_its_own_digits() -> None:
    for size in (*range(1200), *range(9980, 10010)):
        record = tarheaders._record(b"k", b"x" * size)
        assert int(record.split(b" ")[0]) == len(record)


def test_an_archive_from_memory_has_fixed_owners_and_times(tmp_path: Path) -> None:
    entries = [
        (b"bin/", stat.S_IFDIR | 0o1777, b""),
        (b"bin/a", stat.S_IFREG | 0o4755, b"x" * 300_000),
        (b"bin/b", stat.S_IFLNK | 0o777, b"a"),
    ]
    with open(tmp_path / "ours.tar", "wb") as file:
        tar.write_entries(entries, 946684800, file.fileno())
    with tarfile.open(tmp_path / "ours.tar") as archive:
        members = archive.getmembers()
        content = archive.extractfile("bin/a")
        assert content is not None and content.read() == b"x" * 300_000
    assert [(m.name, m.mode, m.uid, m.gid, m.mtime, m.linkname) for m in members] == [
        ("bin", 0o1777, 0, 0, 946684800, ""),
        ("bin/a", 0o4755, 0, 0, 946684800, ""),
        ("bin/b", 0o777, 0, 0, 946684800, "a"),
    ]


def test_importing_it_loads_no_other_module() -> None:
    program = (
        f"import sys; sys.path.insert(0, {REPOSITORY!r}); import os, errno, stages.kernel.errors;"
        "before = set(sys.modules); import stages.kernel.tar; print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-ISc", program], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == ["stages.kernel.tar", "stages.kernel.tarheaders"]
