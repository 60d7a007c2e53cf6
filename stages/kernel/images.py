"""Images: a tarball `NAME.tar` in the root, and its unpacked directory, which is the lower layer of containers.

The tarball is the image; the directory is made from it when it is first needed, and made anew when the tarball has changed
(a commit to an existing name must be seen by the next run).  A stamp tells which directory was unpacked from which tarball.
A directory without a stamp was made by hand: it is never changed or removed.
"""

import os

from stages.kernel import jsontext, locks
from stages.kernel.errors import Failure, Interrupted
from stages.kernel.places import Places, check_image_name

STAMP = "trusted.zocker.image"  # an extended attribute of the unpacked directory


def require(places: Places, image: str) -> None:
    """Raise Failure unless there is an image of that name.  The busybox image is made when it is missing."""
    check_image_name(image)
    tarball = places.tarball(image)
    if exists(places, image):
        return
    if image == "busybox" and not os.path.lexists(tarball):
        from stages.kernel import busybox

        os.makedirs(f"{places.hidden}/images", 0o700, exist_ok=True)
        with locks.held(f"{places.hidden}/images/busybox.build"):
            if not os.path.isfile(tarball):  # somebody else may have made it meanwhile
                busybox.build(tarball)
        return
    raise Failure(f"there is no image {image}: an image is a root directory packed as {tarball}")


def exists(places: Places, image: str) -> bool:
    """Is there an image of that name?"""
    return os.path.isfile(places.tarball(image))


def directory_for(places: Places, image: str) -> str:
    """Where the image's unpacked copy is, or will be: beside the tarball, unless a directory made by hand is there."""
    directory = places.below_root(image)
    return f"{places.hidden}/roots/{image}" if os.path.lexists(directory) and not stamp_of(directory) else directory


def ensure(tarball: str, directory: str, hidden: str) -> None:
    """See to it that `directory` holds what `tarball` says.  `hidden` is the root's hidden directory.

    However many ask at once, one unpacks and the others wait.  It is unpacked aside and renamed, so a failure (Failure) or
    a kill leaves the old copy whole.
    """
    if is_current(tarball, directory):
        return
    os.makedirs(f"{hidden}/images", 0o700, exist_ok=True)
    with locks.held(f"{hidden}/images/{os.path.basename(directory)}.lock"):
        if is_current(tarball, directory):
            return
        if os.path.isdir(directory) and not stamp_of(directory):
            return  # made by hand: the person knows what is in it
        _replace(tarball, directory, hidden)


def _replace(tarball: str, directory: str, hidden: str) -> None:
    from stages.kernel import base_index, syscalls, trees, unpack

    if not os.path.isfile(tarball):
        raise Failure(f"{tarball} is gone: the image can't be unpacked")
    tarball_then = identity(tarball)
    # Among the old copies from the start: what a kill leaves there is removed with them.
    fresh = f"{old_copies(hidden)}/{os.path.basename(directory)}.{os.urandom(5).hex()}"
    index = index_of(directory, hidden)
    os.makedirs(fresh, 0o755)
    try:
        stamp = jsontext.dumps([tarball_then, os.stat(fresh).st_ino]).encode()
        # An index that belongs to a copy that never comes to be, or is gone, has a stamp that no directory has.
        fd = os.open(f"{index}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            unpack.unpack(tarball, fresh, lambda layout: base_index.write(fd, stamp, layout))
            os.rename(f"{index}.new", index)
        except BaseException:
            os.unlink(f"{index}.new")
            raise
        finally:
            os.close(fd)
        # Stamped before it is seen under its name: there is no moment in which it could be taken for another's.
        os.setxattr(fresh, STAMP, stamp)
        if os.path.isdir(directory):
            # Containers still read the old copy through their mounts: it is moved, and removed when they are gone.
            syscalls.exchange(fresh, directory)
        else:
            os.makedirs(os.path.dirname(directory), exist_ok=True)
            os.rename(fresh, directory)
    except BaseException:
        if not is_current(tarball, directory):
            trees.remove_tree(fresh)
        raise
    _remove_old_copies(hidden, os.path.basename(directory))


def remove_unused(hidden: str) -> None:
    """Remove the replaced copies of images that no container has as its lower layer any more."""
    try:
        images = {name.rpartition(".")[0] for name in os.listdir(old_copies(hidden))}
    except FileNotFoundError:
        return
    for image in images:
        with locks.held(f"{hidden}/images/{image}.lock"):
            _remove_old_copies(hidden, image)


def _remove_old_copies(hidden: str, image: str) -> None:
    """Under the image's lock.  While a journal can't be read, nobody knows which copies are in use: then all stay."""
    from stages.kernel import journal, trees

    containers = f"{hidden}/containers"
    for name in os.listdir(containers) if os.path.isdir(containers) else []:
        try:
            done = journal.Done(f"{containers}/{name}")
        except Interrupted:
            raise
        except Failure:
            return
        unpacked = [str(fields["directory"]) for step, fields, _ in done.steps if step == "UnpackImage"]
        if image in map(os.path.basename, unpacked):
            return
    for name in os.listdir(old_copies(hidden)):
        if name.rpartition(".")[0] == image:
            trees.remove_tree(f"{old_copies(hidden)}/{name}")


def old_copies(hidden: str) -> str:
    """Where replaced copies of images are kept until no container needs them."""
    return f"{hidden}/old"


def index_of(directory: str, hidden: str) -> str:
    """Where it is written what lies where in the tarball from which `directory` was unpacked."""
    return f"{hidden}/images/{os.path.basename(directory)}.index"


def identity(file: str | int) -> list[int]:
    """What changes whenever the file, a path or a descriptor, is replaced or written."""
    status = os.stat(file)
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def stamp_of(directory: str) -> list[object]:
    """What tarball the directory was unpacked from (its identity), empty when it was not we who did it.

    The directory's own inode is part of the stamp: a copy made by hand (`cp -a`) is no longer ours.
    """
    try:
        value = jsontext.loads(raw_stamp_of(directory).decode())
    except ValueError:
        return []
    match value:
        case [list(tarball), int(inode)] if inode == os.lstat(directory).st_ino:
            return tarball
    return []


def raw_stamp_of(directory: str) -> bytes:
    """The stamp as it is kept; empty when there is none."""
    try:
        return os.getxattr(directory, STAMP, follow_symlinks=False)
    except OSError:
        return b""


def is_current(tarball: str, directory: str) -> bool:
    """Was `directory` unpacked from `tarball` as it is now?"""
    stamped = stamp_of(directory)
    try:
        return bool(stamped) and identity(tarball) == stamped
    except FileNotFoundError:
        return True  # the tarball was taken away, its unpacked copy is still good
