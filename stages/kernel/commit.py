"""Packs the merged view of a container as an image."""

import os

from stages.kernel import freezer, locks, log, mounts, signals
from stages.kernel.errors import Failure
from stages.kernel.places import Places
from stages.kernel.progress import Progress
from stages.kernel.step import quoted


def commit(
    places: Places,
    mount_point: str,
    containers: dict[str, list[str]],
    image: str,
    gzip: bool = False,
    reproducible: bool = False,
) -> None:
    """Write what is seen at `mount_point` as the image `image`, and print its path.

    `containers` are those that write there, each name with its control groups.  They stand still meanwhile, so that no
    file is half written; who writes to a volume from the host isn't paused.  The tar is made aside and renamed: until
    then, and when anything fails, the old image is whole.

    With `gzip` it is compressed; what the container did not touch is copied from its image, where that is compressed as
    well.  With `reproducible` nothing is: the same content gives the same bytes, whatever it was made from.  Raises Failure.
    """
    tarball, hidden = places.tarball(image), places.hidden
    if mounts.at(mount_point) is None:
        raise Failure(f"nothing is mounted at {mount_point}, so there is nothing to pack (a reboot takes mounts away)")
    if os.path.isdir(tarball):
        raise Failure(f"{tarball} is a directory: an image can't take its place")
    signals.raise_when_asked_to_end()
    os.makedirs(f"{hidden}/commit", 0o700, exist_ok=True)
    aside = f"{hidden}/commit/{os.path.basename(tarball)}.{os.getpid()}"
    _remove_dead_attempts(f"{hidden}/commit")
    # Whoever stops or removes one of them waits until we are done: that would thaw it.
    held = [locks.take_directory(places.home(name)) for name in sorted(containers)]
    try:
        _write(places, mount_point, containers, aside, gzip, reproducible)
        signals.hold_off()  # once it is renamed, nothing is as it was before
        log.note(f"mv {quoted(aside, tarball)}")
        os.rename(aside, tarball)
    except OSError as error:
        _unlink(aside)
        raise Failure(f"commit: {error.strerror} while writing {tarball}: nothing was changed") from None
    except BaseException:
        _unlink(aside)
        raise
    finally:
        for lock in held:
            if lock is not None:
                locks.release(lock)
    print(tarball)


def _write(
    places: Places, mount_point: str, containers: dict[str, list[str]], aside: str, gzip: bool, reproducible: bool
) -> None:
    from stages.kernel import tar

    # Also read, by who looks how far it has come.
    out = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        try:
            for groups in containers.values():
                freezer.freeze(groups)
            log.note(f"tar -C {quoted(mount_point)} --numeric-owner -c{'z' if gzip else ''}f {quoted(aside)} .")
            if gzip:
                homes = [places.home(name) for name in containers]
                _write_gzip(mount_point, homes, places.hidden, out, reproducible)
            else:
                with Progress("packing", lambda: os.lseek(out, 0, os.SEEK_CUR), lambda: tar.size_of(mount_point)):
                    tar.write_tree(mount_point, out)
        finally:
            try:
                signals.hold_off()
            finally:  # a request that comes just now is raised by that
                for groups in containers.values():
                    freezer.thaw(groups)
        signals.raise_when_asked_to_end()
        os.fdatasync(out)  # else a power cut soon after the rename could leave neither the old image nor the new one
    finally:
        os.close(out)


def _write_gzip(mount_point: str, homes: list[str], hidden: str, out: int, reproducible: bool) -> None:
    from stages.kernel import gzipped, incremental, tar

    if not reproducible and len(homes) == 1:
        try:
            return incremental.write(mount_point, homes[0], hidden, out)
        except incremental.Unfit as why:
            log.note(f"(nothing is copied from the container's image: {why})")
            os.ftruncate(out, 0)
            os.lseek(out, 0, os.SEEK_SET)
    with (
        gzipped.GzipArchive(out, everywhere_the_same=reproducible) as archive,
        Progress("packing", lambda: archive.taken, lambda: tar.size_of(mount_point)),
    ):
        tar.add_tree(archive, mount_point, {})
        archive.finish()


def _remove_dead_attempts(directory: str) -> None:
    """Remove what commits that were killed have left; their pid is at the end of the name."""
    for name in os.listdir(directory):
        if not os.path.exists(f"/proc/{name.rpartition('.')[2]}"):
            _unlink(f"{directory}/{name}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
