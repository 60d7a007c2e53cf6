"""Images as plain tars: one that was committed is read, one to run gets more members."""

import io
import os
import tarfile
from pathlib import Path

from harness.expect import BAD, MISSING, Mismatch, Row


def read(tarball: Path, name: str) -> dict[str, bytes]:
    """Each member by its path, with its content (of a directory, a link and so on: nothing).  Raises Mismatch when it's no tar.

    `name` is how a learner calls the tar.
    """
    try:
        with tarfile.open(tarball, "r:") as tar:  # "r:" takes no compressed one
            found = {}
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                found[os.path.normpath(member.name).lstrip("/")] = file.read() if file else b""
    except FileNotFoundError:
        raise Mismatch("the tar of the image", [Row(MISSING, name, None)]) from None
    except (OSError, tarfile.TarError) as error:
        raise Mismatch(f"{name}, read as a tar", [Row(BAD, "an uncompressed tar", str(error))]) from None
    found.pop(".", None)
    return found


def add(tarball: Path, files: dict[str, str], links: dict[str, str]) -> None:
    """Add files (path: content), each with its directory, and symbolic links (path: target) to a tar."""
    with tarfile.open(tarball, "a") as tar:
        for path, text in files.items():
            if directory := os.path.dirname(path):
                member = tarfile.TarInfo(directory)
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            member = tarfile.TarInfo(path)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        for path, target in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
