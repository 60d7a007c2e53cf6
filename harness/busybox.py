"""The busybox image that every subject is given: the machine's static busybox as a root directory in a tar.

The harness makes its own, since a program under test must not be its own witness.
"""

import functools
import io
import tarfile
from pathlib import Path

import sh

from harness.world import uninterrupted

ROOT_DIRECTORIES = ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var")
FILES = {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n"}


def build(tarball: Path) -> None:
    """Write the image to `tarball`.  Raises OSError, and what `image` raises."""
    tarball.write_bytes(image())


@functools.cache
def image() -> bytes:
    """The image.  Raises sh.CommandNotFound when there is no busybox, sh.ErrorReturnCode when it doesn't run."""
    busybox = Path("/bin/busybox")
    # Ctrl-C just while it forks would be lost, and its thread waited for in vain: exceptions in what Python does after a fork are
    # only printed (os.register_at_fork).
    with uninterrupted():
        applets = sh.Command(str(busybox))("--list").split()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ROOT_DIRECTORIES:
            tar.addfile(_member(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755))
        content = busybox.read_bytes()
        member = _member("bin/busybox", tarfile.REGTYPE, 0o755)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        for applet in sorted(set(applets) - {"busybox"}):
            member = _member(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
            member.linkname = "busybox"
            tar.addfile(member)
        for name, text in FILES.items():
            member = _member(name, tarfile.REGTYPE, 0o644)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = kind, mode
    return member
