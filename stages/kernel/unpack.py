"""Unpacks an image's tar into a directory, out of reach of what the tar says.

The work is done in a child that has made `directory` its root: whatever names and symlinks the archive holds,
they lead nowhere else.  (tarfile's own extraction filters came after Python 3.11.2, and refuse a root file
system.)  After the chroot nothing is imported and no user is looked up: both would run the *image's* code.

Sources followed: chroot(2), tar(5), and the GNU tar manual, "Basic Tar Format"
(https://www.gnu.org/software/tar/manual/html_node/Standard.html).
"""

import errno
import gzip
import os
import shutil
import signal
import stat
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, NoReturn, Self, cast

from stages.kernel.errors import Failure
from stages.kernel.syscalls import die_with_parent
from stages.kernel.tar import is_kept
from stages.kernel.trees import remove_tree

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # RFC 1952, RFC 8878
_CHUNK = 256 << 10
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_CUT = "unexpected end of data"  # tarfile's own words
_XATTR = "SCHILY.xattr."

# By inode number, for their modes and times, which are set at the end.
_Directories = dict[int, tuple[bytes, tarfile.TarInfo]]


def unpack(tarball: str, directory: str) -> None:
    """Unpack the tar `tarball`, plain or packed with gzip or zstd, into the empty directory `directory`.

    For: making an image's root file system.  Owners are numbers; the last of several members of one
    name wins.  On Failure what is in `directory` is rubbish, and the caller's to remove.
    Raises Failure when the archive is damaged, cut short or no tar; when a member would leave the root; when
    the disk is full; and when zstd is needed and there is none.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(tarball, "rb"))
            head = os.pread(file.fileno(), 4, 0)  # leaves the offset alone, which zstd inherits
        except OSError as error:
            raise Failure(f"{tarball} can't be read: {error.strerror}") from error
        archive = stack.enter_context(_plain(file, head, tarball))
        _in_a_child(archive, tarball, directory)


# --- the parent ----------------------------------------------------------------------------------------


@contextmanager
def _plain(file: IO[bytes], head: bytes, tarball: str) -> Iterator[IO[bytes]]:
    """Give the archive as it was before it was packed; its first bytes, `head`, say how, not its name."""
    if not head:
        raise Failure(f"{tarball} is empty: copy it again")
    if head[:2] == _GZIP:
        with gzip.open(file, "rb") as unzipped:
            yield cast(IO[bytes], unzipped)
    elif head == _ZSTD:
        with _zstd(file, tarball) as unzipped:
            yield unzipped
    else:
        yield file


@contextmanager
def _zstd(file: IO[bytes], tarball: str) -> Iterator[IO[bytes]]:
    """Unpack zstd by its own program, or else by the module that Python has from 3.14 on."""
    program = shutil.which("zstd")
    if program is None:
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise Failure(f"{tarball} is packed with zstd: install the package zstd") from None
        with zstd.open(file, "rb") as unzipped:
            yield unzipped
        return
    import subprocess

    with subprocess.Popen([program, "-dcq"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        # When we stop early, the end of the block closes the pipe, and the program ends with its next write.
        yield process.stdout
    # The child has read to the end by now: the program has said all that it will say.
    if process.returncode != 0:
        raise Failure(f"{tarball} is damaged: copy it again")


def _in_a_child(archive: IO[bytes], tarball: str, directory: str) -> None:
    """Run `_child` in a forked child, wait for it, and raise what it reports."""
    reader, writer = os.pipe()
    pid = 0
    # Ctrl-C waits while we fork: it must not run our caller's `finally` in the child, nor come before the
    # pid is known.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        pid = os.fork()
        if pid == 0:
            _child(archive, tarball, directory, writer, before)
        os.close(writer)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        report = b""
        while more := os.read(reader, _CHUNK):
            report += more
        _, status = os.waitpid(pid, 0)
        pid = 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reader)
        if pid:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    if report:
        raise Failure(os.fsdecode(report))
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise Failure(f"unpacking {tarball} was ended by signal {-code}: try again")


# --- the child -----------------------------------------------------------------------------------------


def _child(
    archive: IO[bytes], tarball: str, directory: str, writer: int, mask: "set[signal.Signals | int]"
) -> NoReturn:
    """Chroot, extract, report and end.  Nothing gets past this function, not even an exception."""
    report = f"unpacking {tarball} failed"
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        die_with_parent(signal.SIGKILL)
        os.umask(0)
        os.chroot(directory)
        os.chdir("/")
        # From here on an import would find the image's modules.  Nothing is left that could look.
        sys.meta_path.clear()
        sys.path.clear()
        _extract(archive, tarball)
        report = ""
    except Failure as failure:
        report = str(failure)
    except EOFError:  # gzip's, and zstd's module's
        report = f"{tarball} is cut short: copy it again"
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            report = f"{tarball} is damaged: copy it again"
        elif error.errno in _NO_SPACE:
            where = os.path.dirname(directory.rstrip("/")) or "."
            report = f"no space left on {where} while unpacking {tarball}: nothing was changed"
        else:
            report = f"{tarball} can't be unpacked into {directory}: {error.strerror}"
    except (tarfile.TarError, zlib.error, ValueError, OverflowError) as error:
        cut = isinstance(error, tarfile.ReadError) and str(error) == _CUT
        report = f"{tarball} is {'cut short' if cut else 'damaged'}: copy it again"
    except _NotATar:
        report = f"{tarball} is no tar archive, or only the beginning of one: copy it again"
    except MemoryError:
        report = f"not enough memory to unpack {tarball}: make some free first"
    finally:
        # os._exit: the atexit functions, buffers and `finally` clauses are the parent's.
        try:
            os.write(writer, os.fsencode(report))
        finally:
            os._exit(1 if report else 0)


class _NotATar(Exception):
    """What was read is not even one header."""


class _Refused(Exception):
    """Why a member is not extracted: the rest of a sentence that begins with its name."""


class _Member(tarfile.TarInfo):
    """A member whose header is whole.

    After the first member, tarfile takes a broken header, or none, for the end of the archive, and half an
    image would pass for a whole one.  Only a block of zeros is an end.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            if archive.offset == 0:
                raise _NotATar from None
            none = (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]
            raise tarfile.ReadError(_CUT if isinstance(error, none) else str(error)) from None


def _extract(archive: IO[bytes], tarball: str) -> None:
    """Extract into the root directory, which is the image's by now."""
    # "r|" never seeks back: a member of negative size is an error then, not an endless loop.
    tar = tarfile.open(  # noqa: SIM115  # this process ends with it
        *(tarball, "r|", archive, 64 << 10), tarinfo=_Member, encoding="utf-8", errors="surrogateescape"
    )
    directories: _Directories = {}
    found = False
    while (member := tar.next()) is not None:
        found = True
        tar.members.clear()  # type: ignore[attr-defined]  # or it keeps them all
        try:
            _add(member, tar, directories)
        except _Refused as refusal:
            raise Failure(f"{tarball} is refused: its member {member.name!r} {refusal}") from None
        except OSError as error:
            if isinstance(error, gzip.BadGzipFile) or error.errno in _NO_SPACE:
                raise
            reason = f"its member {member.name!r}: {error.strerror}"
            raise Failure(f"{tarball} can't be unpacked: {reason}") from error
    if not found:
        raise Failure(f"{tarball} holds no files: make it again")
    for inode, (path, member) in directories.items():
        _finish_directory(inode, path, member)
    while archive.read(_CHUNK):
        pass  # gzip's checksum comes last, and zstd has to get rid of its output


def _add(member: tarfile.TarInfo, tar: tarfile.TarFile, directories: _Directories) -> None:
    """Create what the member describes, in the place of whatever has its name."""
    path = _inside(member.name, "has a name")
    _make_parents(path)
    if member.isdir():
        directories[_make_directory(path)] = (path, member)
        return
    if path == b".":
        raise _Refused("is the root of the image, and no directory")
    if member.islnk():
        target = _inside(member.linkname, "is a hard link to a name")
        if target == path:
            return
        if not os.path.lexists(target):
            raise _Refused(f"is a hard link to {member.linkname!r}, which is not there")
        _remove(path)
        os.link(target, path, follow_symlinks=False)
        return
    # Never opened as it is: it might be a symlink, or another name of a file that is to stay as it is.
    _remove(path)
    mode = member.mode & 0o7777
    if member.isreg():
        _make_file(path, member, tar)
        return
    if member.issym():
        os.symlink(_bytes(member.linkname), path)
    elif member.isfifo():
        os.mkfifo(path, mode)
    elif member.isdev():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(path, kind | mode, os.makedev(member.devmajor, member.devminor))
    else:
        raise _Refused(f"is of the unknown type {member.type!r}")
    os.lchown(path, member.uid, member.gid)
    if not member.issym():
        os.chmod(path, mode)
    _set_xattrs(path, member)
    os.utime(path, ns=_times(member), follow_symlinks=False)


def _inside(name: str, what: str) -> bytes:
    """The name as a path below the root; raises _Refused when it leads out."""
    parts = [part for part in _bytes(name).split(b"/") if part not in (b"", b".")]
    if name.startswith("/"):
        raise _Refused(f"{what} that begins with a slash")
    if b".." in parts:
        raise _Refused(f"{what} with '..' in it")
    return b"/".join(parts) or b"."


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")  # as tarfile was told to decode, whatever the locale


def _make_parents(path: bytes) -> None:
    """Make the directories above `path` that have no member of their own."""
    if os.path.isdir(os.path.dirname(path) or b"."):
        return
    end = path.find(b"/")
    while end >= 0:
        with suppress(FileExistsError):
            os.mkdir(path[:end], 0o755)
        end = path.find(b"/", end + 1)


def _make_directory(path: bytes) -> int:
    """Make a directory, unless it is there, and return its inode number."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            os.mkdir(path, 0o700)
    return os.lstat(path).st_ino


def _remove(path: bytes) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        remove_tree("/" + os.fsdecode(path))


def _make_file(path: bytes, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    content = tar.extractfile(member)
    assert content is not None
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while chunk := content.read(_CHUNK):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(fd, rest) :]
        _finish(fd, member)
    finally:
        os.close(fd)


def _finish_directory(inode: int, path: bytes, member: tarfile.TarInfo) -> None:
    """Give a directory its mode and time, now that nothing is made in it any more; if it is still there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # a later member took its place
    try:
        if os.fstat(fd).st_ino == inode:
            _finish(fd, member)
    finally:
        os.close(fd)


def _finish(fd: int, member: tarfile.TarInfo) -> None:
    """Owner, mode, attributes, times, in this order: a new owner clears setuid and capabilities."""
    os.fchown(fd, member.uid, member.gid)
    os.fchmod(fd, member.mode & 0o7777)
    _set_xattrs(fd, member)
    os.utime(fd, ns=_times(member))


def _times(member: tarfile.TarInfo) -> tuple[int, int]:
    """The member's time, twice, in nanoseconds.  A float has not digits enough: it would round up a second."""
    text = member.pax_headers.get("mtime", str(int(member.mtime)))
    seconds, _, fraction = text.removeprefix("-").partition(".")
    nanoseconds = int(seconds) * 10**9 + int(fraction[:9].ljust(9, "0"))
    return (-nanoseconds, -nanoseconds) if text.startswith("-") else (nanoseconds, nanoseconds)


def _set_xattrs(file: bytes | int, member: tarfile.TarInfo) -> None:
    """Set the extended attributes that an image keeps; a file system that has none goes without."""
    for keyword, value in member.pax_headers.items():
        name = keyword.removeprefix(_XATTR).replace("%3D", "=").replace("%25", "%")
        if keyword.startswith(_XATTR) and is_kept(name):
            try:
                os.setxattr(file, name, _bytes(value), follow_symlinks=isinstance(file, int))
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
