"""Where in the container's root a volume is mounted, found so that it can't be outside."""

import errno
import os
import stat

from stages.kernel import syscalls
from stages.kernel.errors import Failure

HIDDEN = ("proc", "dev")  # mounted later, over whatever a volume shows there


def parse(value: str) -> tuple[str, str]:
    """`HOST:CONTAINER` as two absolute paths without `..`.  Raises Failure."""
    parts = value.split(":")
    if len(parts) != 2 or not all(part.startswith("/") for part in parts):
        raise Failure(f"-v {value}: a volume is HOST:CONTAINER, two absolute paths, such as /root/data:/data")
    source, target = os.path.abspath(parts[0]), parts[1]
    words = [word for word in target.split("/") if word not in ("", ".")]
    if ".." in words:
        raise Failure(f"-v {value}: `..` can't be part of the container's path: it could lead out of the container")
    if not words:
        raise Failure(
            f"-v {value}: a volume can't take the place of the container's whole root: name a directory in it"
        )
    if words[0] in HIDDEN:
        raise Failure(f"-v {value}: /{words[0]} is mounted later and would hide the volume: choose another path")
    return source, "/" + "/".join(words)


def make_target(root: int, target: str, source: str) -> int:
    """Open the place `target` inside the root directory `root` (a descriptor), making what is missing; returns an O_PATH descriptor.

    Symbolic links of the image are followed as the container would follow them: inside its root.
    RESOLVE_IN_ROOT in openat2(2).  Raises Failure when something is in the way.
    """
    is_directory = stat.S_ISDIR(os.stat(source).st_mode)
    words = target.strip("/").split("/")
    here = os.dup(root)
    for depth, word in enumerate(words, 1):
        make_directory = is_directory or depth < len(words)
        path = "/".join(words[:depth])
        try:
            following = _open_or_make(root, here, path, word, make_directory, target)
        finally:
            os.close(here)  # else it would keep the union busy
        here = following
    seen = os.readlink(f"/proc/self/fd/{here}")[len(os.readlink(f"/proc/self/fd/{root}")) :].strip("/")
    if not seen or seen.split("/")[0] in HIDDEN:
        os.close(here)
        raise Failure(
            f"-v {source}:{target}: that is /{seen} in the image, where no volume can be: choose another path"
        )
    if stat.S_ISDIR(os.fstat(here).st_mode) != is_directory:
        os.close(here)
        raise Failure(f"-v {source}:{target}: one is a directory and the other isn't")
    return here


def _open_or_make(root: int, parent: int, path: str, name: str, directory: bool, target: str) -> int:
    try:
        return syscalls.openat2(root, path, os.O_PATH, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise Failure(f"volume at {target}: /{path} in the container: {error.strerror}") from None
    try:
        if directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
    except FileExistsError:
        raise Failure(f"volume at {target}: /{path} in the image is a symbolic link to nowhere") from None
    except OSError as error:
        raise Failure(f"volume at {target}: can't make /{path} in the container: {error.strerror}") from None
    return syscalls.openat2(root, path, os.O_PATH, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
