"""Locks between programs: flock(2) on a file.  The kernel lets go of them when their holder ends, however it ends."""

import fcntl
import os


def take(path: str) -> int:
    """Wait for the lock `path` and return the descriptor that holds it; `release` it.

    A missing file is made.  https://man7.org/linux/man-pages/man2/flock.2.html
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def take_directory(path: str, wait: bool = True) -> int | None:
    """Like `take`, for a directory that may be removed meanwhile: None when it is gone, or (without `wait`) locked."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def release(fd: int) -> None:
    """Let go, also for the children that inherited the descriptor."""
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


class held:
    """`with held(path):` holds the lock for the block."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        self.fd = take(self.path)

    def __exit__(self, *_: object) -> None:
        release(self.fd)
