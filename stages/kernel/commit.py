"""Packs the merged view of a container as an image."""

import os

from stages.kernel import freezer, locks, log, mounts, signals
from stages.kernel.errors import Failure
from stages.kernel.places import Places
from stages.kernel.step import quoted


def commit(places: Places, mount_point: str, containers: dict[str, list[str]], image: str) -> None:
    """Write what is seen at `mount_point` as the image `image`, and print its path.

    `containers` are those that write there, each name with its control groups.  They stand still meanwhile, so that no
    file is half written; who writes to a volume from the host isn't paused.  The tar is made aside and renamed: until
    then, and when anything fails, the old image is whole.  Raises Failure.
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
        _write(mount_point, list(containers.values()), aside)
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


def _write(mount_point: str, groups: list[list[str]], aside: str) -> None:
    from stages.kernel import tar

    out = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        try:
            for container in groups:
                freezer.freeze(container)
            log.note(f"tar -C {quoted(mount_point)} --numeric-owner -cf {quoted(aside)} .")
            tar.write_tree(mount_point, out)
        finally:
            signals.hold_off()
            for container in groups:
                freezer.thaw(container)
            signals.raise_when_asked_to_end()
        os.fdatasync(out)  # else a power cut soon after the rename could leave neither the old image nor the new one
    finally:
        os.close(out)


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
