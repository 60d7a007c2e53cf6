"""Images: a tarball `NAME.tar` in the root, and its unpacked directory, which is the lower layer of containers.

The tarball is the image; the directory is made from it when it is first needed, and made anew when the tarball has changed
(a commit to an existing name must be seen by the next run).  A stamp tells which directory was unpacked from which tarball.
A directory without a stamp was made by hand: it is never changed or removed.
"""

import os

from stages.kernel import jsontext, locks
from stages.kernel.errors import Failure
from stages.kernel.places import Places, check_image_name


def require(places: Places, image: str) -> None:
    """Raise Failure unless there is an image of that name.  The busybox image is made when it is missing."""
    check_image_name(image)
    tarball = places.tarball(image)
    if os.path.isfile(tarball):
        return
    if image == "busybox" and not os.path.lexists(tarball):
        from stages.kernel import busybox

        os.makedirs(f"{places.hidden}/images", 0o700, exist_ok=True)
        with locks.held(f"{places.hidden}/images/busybox.build"):
            if not os.path.isfile(tarball):  # somebody else may have made it meanwhile
                busybox.build(tarball)
        return
    raise Failure(f"there is no image {image}: an image is a root directory packed as {tarball}")


def directory_for(places: Places, image: str) -> str:
    """Where the image's unpacked copy is, or will be: beside the tarball, unless a directory made by hand is there."""
    directory = places.below_root(image)
    if os.path.lexists(directory) and not _stamp_matches_directory(_stamp_path(places.hidden, directory), directory):
        return f"{places.hidden}/roots/{image}"
    return directory


def ensure(tarball: str, directory: str, hidden: str) -> None:
    """See to it that `directory` holds what `tarball` says.  `hidden` is the root's hidden directory.

    However many ask at once, one unpacks and the others wait.  It is unpacked aside and renamed, so a failure (Failure) or
    a kill leaves the old copy whole.
    """
    stamp = _stamp_path(hidden, directory)
    if _is_current(stamp, tarball, directory):
        return
    os.makedirs(f"{hidden}/images", 0o700, exist_ok=True)
    with locks.held(f"{stamp}.lock"):
        if _is_current(stamp, tarball, directory):
            return
        if os.path.isdir(directory) and not _stamp_matches_directory(stamp, directory):
            return  # made by hand: the person knows what is in it
        _replace(tarball, directory, hidden, stamp)


def _replace(tarball: str, directory: str, hidden: str, stamp: str) -> None:
    from stages.kernel import syscalls, trees, unpack

    fresh = f"{hidden}/unpack/{os.path.basename(directory)}"
    if not os.path.isfile(tarball):
        raise Failure(f"{tarball} is gone: the image can't be unpacked")
    tarball_now = _identity(tarball)
    trees.remove_tree(fresh)  # what a killed run left; the lock says that nobody is at work in it
    os.makedirs(fresh, 0o755)
    try:
        unpack.unpack(tarball, fresh)
        if not os.path.isdir(directory):
            os.makedirs(os.path.dirname(directory), exist_ok=True)
            os.rename(fresh, directory)
        else:
            # Containers still read the old copy through their mounts: it is moved, and removed when they are gone.
            syscalls.exchange(fresh, directory)
            os.makedirs(f"{hidden}/old", 0o700, exist_ok=True)
            os.rename(fresh, f"{hidden}/old/{os.path.basename(directory)}.{os.stat(fresh).st_ino}")
        _write_stamp(stamp, [tarball_now, os.stat(directory).st_ino])
    except BaseException:
        trees.remove_tree(fresh)
        raise
    remove_unused(hidden)


def remove_unused(hidden: str) -> None:
    """Remove the replaced copies of images that no container has as its lower layer any more.

    While a journal can't be read, nobody knows which those are: then all stay.
    """
    try:
        old = os.listdir(f"{hidden}/old")
    except FileNotFoundError:
        return
    if not old:
        return
    from stages.kernel import journal, trees

    used = set()
    for name in os.listdir(f"{hidden}/containers") if os.path.isdir(f"{hidden}/containers") else []:
        try:
            done = journal.Done(f"{hidden}/containers/{name}")
        except Failure:
            return
        used |= {os.path.basename(str(fields["image"])) for step, fields, _ in done.steps if step == "Union"}
    for name in old:
        if name.rpartition(".")[0] not in used:
            trees.remove_tree(f"{hidden}/old/{name}")


def _stamp_path(hidden: str, directory: str) -> str:
    beside = "" if os.path.dirname(directory) != f"{hidden}/roots" else ".root"
    return f"{hidden}/images/{os.path.basename(directory)}{beside}"


def _identity(path: str) -> list[int]:
    """What changes whenever the file is replaced or written."""
    status = os.stat(path)
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _read_stamp(stamp: str) -> list[object]:
    try:
        with open(stamp) as file:
            value = jsontext.loads(file.read())
    except (FileNotFoundError, ValueError):
        return []
    return value if isinstance(value, list) and len(value) == 2 else []


def _write_stamp(stamp: str, value: list[object]) -> None:
    with open(f"{stamp}.new", "w") as file:
        file.write(jsontext.dumps(value))
    os.rename(f"{stamp}.new", stamp)


def _stamp_matches_directory(stamp: str, directory: str) -> bool:
    value = _read_stamp(stamp)
    return bool(value) and os.path.isdir(directory) and os.lstat(directory).st_ino == value[1]


def _is_current(stamp: str, tarball: str, directory: str) -> bool:
    value = _read_stamp(stamp)
    if not value or not _stamp_matches_directory(stamp, directory):
        return False
    try:
        return _identity(tarball) == value[0]
    except FileNotFoundError:
        return True  # the tarball was taken away, its unpacked copy is still good
