"""Unpacks an image's tar into a directory, out of reach of what the tar says.

The work is done in a child that has made `directory` its root: whatever names and symlinks the archive holds,
they lead nowhere else.  After the chroot nothing is imported, loaded or looked up: all three would run the *image's* code.

Sources followed: chroot(2), tar(5).
"""

import _signal  # type: ignore[import-not-found]  # `signal` would import `enum`, 4 ms; it has no typing stubs
import errno
import os
import sys

from stages.kernel import gunzip, untar
from stages.kernel.copier import Copier
from stages.kernel.errors import Failure
from stages.kernel.progress import Progress
from stages.kernel.syscalls import die_with_parent
from stages.kernel.tarheaders import BLOCK, S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, is_kept
from stages.kernel.trees import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, NoReturn

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # RFC 1952, RFC 8878
_CHUNK = 256 << 10
_LARGE = 32 << 10  # files of that size and more are worth a hand over to a second thread
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Layout:
    """How a gzip file was made up.

    `members` are the gzip members: where each begins, in the tar and in the file.  `entries` are those of the tar: where each
    begins, its kind, its name, and the name that it is a hard link to (empty if it is none).  `end` is where in the tar its
    end is marked.  `is_plain`: all is told as our own writer tells it.
    """

    def __init__(self, members: list[tuple[int, int]]) -> None:
        self.members = members
        self.entries: list[tuple[int, bytes, bytes, bytes]] = []
        self.end = 0
        self.is_plain = True

    def add(self, entry: untar.Entry) -> None:
        """Note the next entry."""
        link = inside(entry.link, "") if entry.kind == b"1" else b""
        self.entries.append((entry.start, entry.kind, inside(entry.name, ""), link))
        is_whiteout = entry.kind == b"3" and entry.device == (0, 0)  # in a layer such a device hides what is below
        self.is_plain = self.is_plain and entry.is_plain and not is_whiteout


def unpack(tarball: str, directory: str, remember: "Callable[[Layout], None] | None" = None) -> None:
    """Unpack the tar `tarball`, plain or packed with gzip or zstd, into the empty directory `directory`.

    For: making an image's root file system.  Owners are numbers; the last of several members of one
    name wins.  On Failure what is in `directory` is rubbish, and the caller's to remove.
    `remember` is called, in the child, when everything of a gzip file is unpacked.
    Raises Failure when the archive is damaged, cut short or no tar; when a member would leave the root; when
    the disk is full; and when zstd is needed and there is none.
    """
    try:
        file = os.open(tarball, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(f"{tarball} can't be read: {error.strerror}") from error
    try:
        try:
            head = os.pread(file, 4, 0)  # leaves the offset alone, which zstd inherits
        except OSError as error:
            raise Failure(f"{tarball} can't be read: {error.strerror}") from error
        # How it is packed is said by its first bytes, not by its name.
        if not head:
            raise Failure(f"{tarball} is empty: copy it again")
        if head == _ZSTD:
            _unpack_zstd(file, tarball, directory)
        elif head[:2] == _GZIP:
            packed = gunzip.Gunzip(file)
            work = _Work(untar.Stream(packed.chunks()), file, tarball, directory)
            work.layout, work.remember = Layout(packed.members) if remember else None, remember
            _in_a_child(work)
        else:
            _in_a_child(_Work(untar.FileStream(file), file, tarball, directory))
    finally:
        os.close(file)


class _Work:
    """What the child is to do, all of it at hand before there is a child."""

    def __init__(self, stream: untar.Stream, file: int, tarball: str, directory: str) -> None:
        self.stream, self.file = stream, file
        self.tarball, self.directory = tarball, directory
        self.layout: Layout | None = None
        self.remember: Callable[[Layout], None] | None = None


# --- the parent ----------------------------------------------------------------------------------------


def _read(file: "IO[bytes]") -> "Iterator[memoryview]":
    while content := file.read(_CHUNK):
        yield memoryview(content)


def _unpack_zstd(file: int, tarball: str, directory: str) -> None:
    """Unpack zstd by its own program, or else by the module that Python has from 3.14 on."""
    import shutil
    import subprocess

    program = shutil.which("zstd")
    if program is None:
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise Failure(f"{tarball} is packed with zstd: install the package zstd") from None
        with open(file, "rb", closefd=False) as packed, zstd.open(packed, "rb") as unzipped:
            return _in_a_child(_Work(untar.Stream(_read(unzipped)), file, tarball, directory))
    with subprocess.Popen([program, "-dcq"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        # When we stop early, the end of the block closes the pipe, and the program ends with its next write.
        _in_a_child(_Work(untar.Stream(_read(process.stdout)), file, tarball, directory))
    # The child has read to the end by now: the program has said all that it will say.
    if process.returncode != 0:
        raise Failure(f"{tarball} is damaged: copy it again")


def _in_a_child(work: _Work) -> None:
    """Run `_child` in a forked child, wait for it, and raise what it reports."""
    reader, writer = os.pipe()
    pid = 0
    # Ctrl-C waits while we fork: it must not run our caller's `finally` in the child, nor come before the
    # pid is known.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGINT, _signal.SIGTERM])
    try:
        pid = os.fork()
        if pid == 0:
            _child(work, writer, before)
        os.close(writer)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        report = b""
        # The child's place in the file is ours as well.
        size, done = os.fstat(work.file).st_size, lambda: os.lseek(work.file, 0, os.SEEK_CUR)
        with Progress(f"unpacking {os.path.basename(work.tarball)}", done, lambda: size):
            while more := os.read(reader, _CHUNK):
                report += more
        _, status = os.waitpid(pid, 0)
        pid = 0
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        os.close(reader)
        if pid:
            try:
                os.kill(pid, _signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
    if report:
        raise Failure(os.fsdecode(report))
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise Failure(f"unpacking {work.tarball} was ended by signal {-code}: try again")


# --- the child -----------------------------------------------------------------------------------------


def _child(work: _Work, writer: int, mask: "set[int]") -> "NoReturn":
    """Chroot, extract, report and end.  Nothing gets past this function, not even an exception."""
    tarball, directory = work.tarball, work.directory
    report = f"unpacking {tarball} failed"
    try:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        die_with_parent(_signal.SIGKILL)
        os.umask(0)
        os.chroot(directory)
        os.chdir("/")
        # From here on an import would find the image's modules.  Nothing is left that could look.
        sys.meta_path.clear()
        sys.path.clear()
        _extract(work)
        report = ""
    except Failure as failure:
        report = str(failure)
    except (EOFError, untar.CutShort):
        report = f"{tarball} is cut short: copy it again"
    except (untar.Damaged, gunzip.Damaged, ValueError, OverflowError):
        report = f"{tarball} is damaged: copy it again"
    except untar.NotATar:
        report = f"{tarball} is no tar archive, or only the beginning of one: copy it again"
    except OSError as error:
        if error.errno in _NO_SPACE:
            where = os.path.dirname(directory.rstrip("/")) or "."
            report = f"no space left on {where} while unpacking {tarball}: nothing was changed"
        else:
            report = f"{tarball} can't be unpacked into {directory}: {error.strerror}"
    except MemoryError:
        report = f"not enough memory to unpack {tarball}: make some free first"
    finally:
        # os._exit: the atexit functions, buffers and `finally` clauses are the parent's.
        try:
            os.write(writer, os.fsencode(report))
        finally:
            os._exit(1 if report else 0)


class _Refused(Exception):
    """Why a member is not extracted: the rest of a sentence that begins with its name."""


def _extract(work: _Work) -> None:
    """Extract into the root directory, which is the image's by now."""
    tarball, stream = work.tarball, work.stream
    is_seekable = isinstance(stream, untar.FileStream)
    tree, layout = _Tree(stream, Copier(work.file) if is_seekable else None), work.layout
    found = False
    for entry in untar.entries(stream):
        found = True
        try:
            tree.add(entry)
        except _Refused as refusal:
            raise Failure(f"{tarball} is refused: its member {_told(entry.name)} {refusal}") from None
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise
            raise Failure(f"{tarball} can't be unpacked: its member {_told(entry.name)}: {error.strerror}") from error
        if layout:
            layout.add(entry)
    if not found:
        raise Failure(f"{tarball} holds no files: make it again")
    tree.finish()
    end = stream.offset - BLOCK
    stream.drain()  # gzip's checksum comes last, and zstd has to get rid of its output
    if layout and work.remember:
        layout.end = end
        work.remember(layout)


class _Tree:
    """What is made below the current directory, which is the root."""

    def __init__(self, stream: untar.Stream, copier: Copier | None) -> None:
        self.stream, self.copier = stream, copier
        # By inode number, for their modes and times, which are set at the end.
        self.directories: dict[int, tuple[bytes, untar.Entry]] = {}
        self.made = b""  # the parent of the last entry: it is there

    def add(self, entry: untar.Entry) -> None:
        """Create what the entry describes, in the place of whatever has its name."""
        path = inside(entry.name, "has a name")
        parent = path.rpartition(b"/")[0]
        if parent != self.made:
            _make_parents(parent)
            self.made = parent
        kind = entry.kind
        if entry.is_file:
            self._make_file(path, entry)
        elif kind == b"5":
            self.directories[self._make_directory(path)] = (path, entry)
        elif kind == b"2":
            self._make(path, lambda: os.symlink(entry.link, path))
            _own(path, entry)
            os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)
        elif kind == b"1":
            self._make_link(path, inside(entry.link, "is a hard link to a name"), entry)
        elif kind == b"6":
            self._make(path, lambda: os.mkfifo(path, entry.mode))
            _finish(path, entry)
        elif kind == b"3" or kind == b"4":
            file_type = S_IFCHR if kind == b"3" else S_IFBLK
            self._make(path, lambda: os.mknod(path, file_type | entry.mode, os.makedev(*entry.device)))
            _finish(path, entry)
        else:
            raise _Refused(f"is of the unknown type {kind!r}")

    def finish(self) -> None:
        """Give the directories their modes and times, now that nothing is made in them any more."""
        if self.copier:
            self.copier.wait()
        for inode, (path, entry) in self.directories.items():
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue  # a later member took its place
            try:
                if os.fstat(fd).st_ino == inode:
                    _finish(fd, entry)
            finally:
                os.close(fd)

    def _make(self, path: bytes, make: "Callable[[], object]") -> None:
        if path == b".":
            raise _Refused("is the root of the image, and no directory")
        try:
            make()
        except FileExistsError:
            self._remove(path)
            make()

    def _remove(self, path: bytes) -> None:
        """Remove what has the name.  Never opened as it is: it might be a symlink, or another name of a file that is to stay."""
        try:
            os.unlink(path)
        except IsADirectoryError:
            remove_tree("/" + os.fsdecode(path))
        self.made = b"//"  # perhaps the parent of what comes next

    def _make_directory(self, path: bytes) -> int:
        """Make a directory, unless it is there, and return its inode number."""
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if os.lstat(path).st_mode & S_IFMT != S_IFDIR:
                self._remove(path)
                os.mkdir(path, 0o700)
        return os.lstat(path).st_ino

    def _make_link(self, path: bytes, target: bytes, entry: untar.Entry) -> None:
        if target == path:
            return
        try:
            self._make(path, lambda: os.link(target, path, follow_symlinks=False))
        except FileNotFoundError:
            raise _Refused(f"is a hard link to {_told(entry.link)}, which is not there") from None

    def _make_file(self, path: bytes, entry: untar.Entry) -> None:
        if path == b".":
            raise _Refused("is the root of the image, and no directory")
        # Nearly all files are root's, without a bit that a write or a new owner would clear: they need no more.
        is_simple = not (entry.uid or entry.gid or entry.mode & 0o7000 or entry.xattrs)
        mode = entry.mode if is_simple else 0o600
        try:
            fd = os.open(path, _NEW_FILE, mode)
        except FileExistsError:
            self._remove(path)
            fd = os.open(path, _NEW_FILE, mode)
        if self.copier and entry.stored >= _LARGE:
            return self._hand_over(self.copier, fd, entry, is_simple)
        try:
            if entry.data:
                os.ftruncate(fd, entry.size)
                for offset, length in entry.data:
                    os.lseek(fd, offset, os.SEEK_SET)
                    self._write(fd, length)
            else:
                self._write(fd, entry.stored)
            _finish_file(fd, entry, is_simple)
        finally:
            os.close(fd)

    def _hand_over(self, copier: Copier, fd: int, entry: untar.Entry, is_simple: bool) -> None:
        """Let the second thread fill a large file."""
        if entry.data:
            os.ftruncate(fd, entry.size)
        source, parts = self.stream.offset, []
        for offset, length in entry.data or [(0, entry.stored)]:
            parts.append((source, offset, length))
            source += length
        self.stream.skip(entry.stored)
        copier.fill(fd, parts, lambda fd: _finish_file(fd, entry, is_simple))

    def _write(self, fd: int, left: int) -> None:
        while left:
            part = self.stream.some(left)
            left -= len(part)
            while part:
                part = part[os.write(fd, part) :]


def _told(name: bytes) -> str:
    """A name for a sentence."""
    return repr((name.rstrip(b"/") or name).decode("utf-8", "surrogateescape"))


def inside(name: bytes, what: str) -> bytes:
    """The name as a path below the root; raises _Refused when it leads out."""
    if name[:1] not in (b"/", b".", b"") and b"//" not in name and b"/." not in name:
        return name.rstrip(b"/")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if name.startswith(b"/"):
        raise _Refused(f"{what} that begins with a slash")
    if b".." in parts:
        raise _Refused(f"{what} with '..' in it")
    return b"/".join(parts) or b"."


def _make_parents(parent: bytes) -> None:
    """Make the directories that have no member of their own."""
    if not parent or os.path.isdir(parent):
        return
    end = 0
    while end >= 0:
        end = parent.find(b"/", end + 1)
        try:
            os.mkdir(parent[:end] if end >= 0 else parent, 0o755)
        except FileExistsError:
            pass


def _finish_file(fd: int, entry: untar.Entry, is_simple: bool) -> None:
    if is_simple:
        os.utime(fd, ns=(entry.mtime, entry.mtime))
    else:
        _finish(fd, entry)


def _own(path: bytes, entry: untar.Entry) -> None:
    if entry.uid or entry.gid:  # else it is root's already
        os.lchown(path, entry.uid, entry.gid)


def _finish(file: int | bytes, entry: untar.Entry) -> None:
    """Owner, mode, attributes, times, in this order: a new owner clears setuid and capabilities.

    `file` is a descriptor, or the path of what must not be opened and is no symlink.
    """
    os.chown(file, entry.uid, entry.gid)
    os.chmod(file, entry.mode)
    for name, value in entry.xattrs.items():
        if is_kept(name):
            try:
                os.setxattr(file, name, value)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:  # a file system that has none goes without
                    raise
    os.utime(file, ns=(entry.mtime, entry.mtime))
