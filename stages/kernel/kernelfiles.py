"""Reading and writing the files in which the kernel shows its settings (/proc, /sys/fs/cgroup)."""

import os

from stages.kernel.syscalls import SystemCallFailed


def read(path: str) -> str:
    """The text of such a file without the newline at its end; empty when there is no such file."""
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return ""


def write(path: str, value: str) -> None:
    """Write `value` in one call, as these files want it.  Raises SystemCallFailed that names the file and the value."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise SystemCallFailed(error.errno or 0, f'write("{path}", "{value}")') from None
