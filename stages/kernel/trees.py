"""Removes a directory tree without ever leaving it: no symlink is followed, no mount is crossed.

`shutil.rmtree` would walk into a volume that a failed umount left behind, and delete the host's data.  A bind
mount of the same file system has the same st_dev, so comparing devices does not notice it; openat2(2) does.
https://man7.org/linux/man-pages/man2/openat2.2.html
"""

import errno
import os

from stages.kernel.errors import Failure
from stages.kernel.syscalls import RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Remove the directory `path` and everything below it; a missing one is no error.

    For: undoing what a container left.  The last component of `path` must be a directory, not a link to one.
    Raises Failure when a mount is met (what is mounted is untouched; what was removed before stays removed),
    when `path` is no directory, and when the kernel refuses.

    One directory is open at a time, and `..` leads back, checked to be where we came from: so depth costs
    neither recursion nor descriptors, and a directory that is moved away meanwhile does not take us along.
    """
    above, name = os.path.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        raise Failure(f"{path!r} can't be removed: give the full path of a directory")
    try:
        here = os.open(above or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    names = [name]  # from `path` down to where we are, or try to get
    parents: list[tuple[int, int]] = []  # for each directory that we are in, its parent as it was
    to_do: list[list[str]] = []  # and its subdirectories that are still there
    try:
        while names:
            if len(parents) < len(names):
                parent = _identity(here)
                try:
                    inner = openat2(here, names[-1], _DIRECTORY, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS)
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        raise
                    names.pop()  # never there, or removed by somebody else: all the same
                    continue
                os.close(here)
                here = inner
                parents.append(parent)
                to_do.append(_remove_all_but_directories(here))
            if to_do[-1]:
                names.append(to_do[-1].pop())
                continue
            outer = openat2(here, "..", _DIRECTORY, RESOLVE_NO_XDEV)
            os.close(here)
            here = outer
            if _identity(here) != parents.pop():
                raise Failure(f"{path} can't be removed: something in it was moved meanwhile; try again")
            to_do.pop()
            try:
                os.rmdir(names.pop(), dir_fd=here)
            except FileNotFoundError:
                continue
    except OSError as error:
        raise Failure(_sentence(path, os.path.join(above, *names), error)) from error
    finally:
        os.close(here)


def _remove_all_but_directories(fd: int) -> list[str]:
    """Remove what is in the directory `fd`, and return the names of the directories, which are left."""
    with os.scandir(fd) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            try:
                os.unlink(name, dir_fd=fd)
            except FileNotFoundError:
                continue
    return [name for name, is_directory in found if is_directory]


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _sentence(path: str, place: str, error: OSError) -> str:
    """What stopped the removal of `path` at or in the directory `place`."""
    if error.errno == errno.EXDEV:
        return f"{path} can't be removed: {place} is a mount; unmount it first"
    if error.errno == errno.EBUSY:  # unlink(2) of a file on which a file is mounted
        return f"{path} can't be removed: {error.filename!r} in {place} is a mount; unmount it first"
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return f"{path} can't be removed: {place} is no directory"
    if error.errno == errno.ENOTEMPTY:
        return f"{path} can't be removed: something writes in {place}; stop it first"
    return f"{path} can't be removed: {place}: {error.strerror}"
