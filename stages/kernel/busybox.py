"""Makes the busybox image, `busybox.tar`, from the busybox that this machine has.

A static busybox needs no library, so a directory with little else in it is a whole system.
https://busybox.net/downloads/BusyBox.html
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

from stages.kernel.errors import Failure
from stages.kernel.tar import write_entries

_MTIME = 946684800  # the first second of 2000: the same image on every day
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_GROUP = b"root:x:0:\nnogroup:x:65534:\n"


def build(tarball: str) -> None:
    """Write the busybox image to the path `tarball`; two builds give the same bytes.

    For: the image of chapter 4.1, and a first image for everyone.  It is written aside and renamed, so that
    there is no half image, whatever happens.  An existing one is replaced.
    Raises Failure when there is no static busybox, or no room.
    """
    program = find_static_busybox()
    aside = os.path.join(os.path.dirname(tarball), f".{os.path.basename(tarball)}.{os.getpid()}")
    try:
        with open(program, "rb") as file:
            content = file.read()
        applets = subprocess.run([program, "--list"], check=True, capture_output=True).stdout.split()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        out = os.open(aside, flags, 0o644)
        try:
            write_entries(_entries(content, applets), _MTIME, out)
            os.fsync(out)  # or a power cut could leave the name with nothing behind it
        finally:
            os.close(out)
        os.rename(aside, tarball)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Failure(f"the busybox image {tarball} can't be made from {program}: {reason}") from error
    finally:
        with suppress(OSError):
            os.unlink(aside)


def find_static_busybox() -> str:
    """Return the path of a statically linked busybox; raises Failure when there is none.

    For: the image, and for scripts that need tools after the host's have gone out of sight.
    """
    for path in ("/bin/busybox", "/usr/bin/busybox", shutil.which("busybox")):
        if path and os.path.exists(path) and is_static(path):
            return path
    raise Failure("there is no statically linked busybox on this machine: install the package busybox-static")


def is_static(path: str) -> bool:
    """Say whether the file `path` is a program that runs without a loader.  Raises OSError.

    A program that wants libraries names its loader in a program header of the type PT_INTERP.  See elf(5).
    """
    with open(path, "rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:4] != b"\x7fELF" or head[5] not in (1, 2):
            return False
        order: Literal["little", "big"] = "little" if head[5] == 1 else "big"  # EI_DATA
        wide = head[4] == 2  # EI_CLASS: 64 bits
        # e_phoff, e_phentsize and e_phnum: where the program headers are, their size, and how many.
        where, size, count = ((32, 8), (54, 2), (56, 2)) if wide else ((28, 4), (42, 2), (44, 2))
        offset, entry, number = (int.from_bytes(head[at : at + n], order) for at, n in (where, size, count))
        file.seek(offset)
        headers = file.read(entry * number)
    types = [int.from_bytes(headers[at : at + 4], order) for at in range(0, len(headers), entry)]
    return bool(types) and 3 not in types  # PT_INTERP


def _entries(busybox: bytes, applets: list[bytes]) -> Iterator[tuple[bytes, int, bytes]]:
    """What is in the image: the ten directories, busybox under all its names, and two users."""
    yield b"bin/", stat.S_IFDIR | 0o755, b""
    yield b"bin/busybox", stat.S_IFREG | 0o755, busybox
    for applet in sorted(set(applets) - {b"busybox"}):
        # Symlinks, not hard links: `ls -l` shows what they are, and a union does not tear them apart.  The
        # first write to one name of a hard-linked file copies that name up and leaves the others below.
        yield b"bin/" + applet, stat.S_IFLNK | 0o777, b"busybox"
    yield b"dev/", stat.S_IFDIR | 0o755, b""
    yield b"etc/", stat.S_IFDIR | 0o755, b""
    yield b"etc/group", stat.S_IFREG | 0o644, _GROUP
    yield b"etc/passwd", stat.S_IFREG | 0o644, _PASSWD
    yield b"home/", stat.S_IFDIR | 0o755, b""
    yield b"proc/", stat.S_IFDIR | 0o555, b""
    yield b"root/", stat.S_IFDIR | 0o700, b""
    yield b"sys/", stat.S_IFDIR | 0o555, b""
    yield b"tmp/", stat.S_IFDIR | 0o1777, b""
    yield b"usr/", stat.S_IFDIR | 0o755, b""
    yield b"var/", stat.S_IFDIR | 0o755, b""
