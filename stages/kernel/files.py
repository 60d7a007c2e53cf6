"""Small files, read with as few calls as it takes."""

import os

_ENOUGH = 1 << 16


def read(path: str) -> bytes:
    """All of the file.  `open` would also ask what it is and where it stands: for `ps` of a thousand containers that counts."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = piece = os.read(fd, _ENOUGH)
        while len(piece) == _ENOUGH:
            piece = os.read(fd, _ENOUGH)
            text += piece
        return text
    finally:
        os.close(fd)
