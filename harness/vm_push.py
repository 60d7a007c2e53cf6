"""What is brought into the guest: this checkout, and a learner's own program."""

import hashlib
import shlex
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.subjects import CHECKOUT, SHIPPED
from harness.vm_errors import VMError
from harness.vm_guest import Guest

PLACE = "/vagrant"  # where Vagrant itself puts the checkout
UNPUSHED = Path(__file__).resolve().parent / "vagrant" / "unpushed"
LARGE = 64 << 20  # bytes; what lies beside a program is not brought along when it is more
# A program's neighbours are brought along, but not what is the system's, or a person's whole home.
SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/run", "/sbin", "/sys", "/usr", "/var")
NO_PROJECTS = {Path("/"), Path("/home"), Path("/root"), Path("/tmp"), Path("/srv"), Path("/mnt"), Path.home()}

# Unpacks what comes, and removes what was brought earlier and comes no more: not what was made there. So bytecode stays, which is
# checked by the time and size of its source. The list is the one that Vagrant's own push keeps (tar_folder.rb).
UNPACK = f"""
list=/var/lib/stages-pushed.{PLACE.strip("/")}
mkdir -p {PLACE} && cd {PLACE} || exit
tar -xpvf - >"$list.new" && [ -s "$list.new" ] || {{ rm -f "$list.new"; exit 1; }}
# What is in the old list only: the rest is there twice at least. Files come before their directory.
[ ! -e "$list" ] || sort "$list" "$list.new" "$list.new" | uniq -u | sort -r | while IFS= read -r gone; do
    rm -f "$gone" 2>/dev/null || {{ rm -rf "$gone/__pycache__" && rmdir "$gone"; }} 2>/dev/null
done
mv "$list.new" "$list"
"""


def checkout(guest: Guest, top: Path = CHECKOUT) -> None:
    """Bring the checkout to /vagrant, as the user vagrant's, as it is now.  Raises VMError."""
    tar = ["tar", "-C", str(top), f"--exclude-from={UNPUSHED}", "--owner=vagrant", "--group=vagrant", "-cf", "-", "."]
    _unpacked(guest.send(tar, UNPACK), str(top))


def digest(top: Path = CHECKOUT) -> str:
    """The same as long as no file of the checkout changes that is brought along."""
    words = ["--sort=name", "--numeric-owner", "--full-time", "-cvvf", "/dev/null", "."]
    listing = subprocess.run(
        ["tar", "-C", str(top), f"--exclude-from={UNPUSHED}", *words], capture_output=True, check=False
    )
    return hashlib.sha256(listing.stdout).hexdigest()


def subjects(guest: Guest, names: Iterable[str]) -> list[str]:
    """Bring along the programs that are meant by these names, each to where it lies here; the names as they are there.

    Raises VMError.
    """
    there, files = [], list[Path]()
    for name in names:
        if not is_own(name):
            there.append(name)
            continue
        path = Path(name).absolute()
        if not path.is_file():
            raise VMError(f"{name}: there is no such {'file' if name.endswith('.toml') else 'program'}")
        there.append(str(path))
        files += [path, *(named_in(path) if name.endswith(".toml") else ())]
        files += [own for file in files for own in (file.resolve(), beside(file)) if own]
    if files:
        tar = ["tar", "-C", "/", f"--exclude-from={UNPUSHED}", "--owner=root", "--group=root", "-cf", "-", "--"]
        tar += sorted({str(file).lstrip("/") for file in files})
        # An existing directory keeps its owner and mode, a link to one stays.
        _unpacked(guest.send(tar, "tar -C / --no-overwrite-dir --keep-directory-symlink -xpf -"), "the program")
    return there


def is_own(name: str) -> bool:
    """Is it a learner's own, not a chapter of ours or an engine that we describe?"""
    return (name.endswith(".toml") or "/" in name) and not (SHIPPED / f"{name}.toml").is_file()


def named_in(file: Path) -> Iterator[Path]:
    """The files that a subject's file names: its program, as seen from the file, and every whole path in a command line."""
    try:
        described = tomllib.loads(file.read_text())
        program = shlex.split(described["program"])
    except (OSError, ValueError, KeyError, AttributeError):
        return  # the check itself says what is wrong with it
    if program and "/" in program[0]:
        yield (file.parent / program[0]).absolute()
    for value in _texts(described):
        try:
            words = shlex.split(value)
        except ValueError:
            continue
        for word in words:
            if (
                word.startswith("/")
                and not word.startswith(tuple(f"{place}/" for place in SYSTEM))
                and Path(word).is_file()
            ):
                yield Path(word)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)


def beside(program: Path) -> Path | None:
    """The directory of a program, when it looks like a project of its own: it may need what lies there."""
    directory = program.resolve().parent
    if directory in NO_PROJECTS or directory in CHECKOUT.parents or directory == CHECKOUT:
        return None
    if str(directory).startswith(SYSTEM):
        return None
    size = 0
    for file in directory.rglob("*"):
        size += file.lstat().st_size
        if size > LARGE:
            return None
    return directory


def _unpacked(done: "subprocess.CompletedProcess[bytes]", what: str) -> None:
    if done.returncode:
        why = " ".join(done.stderr.decode(errors="replace").split())
        if "No space left" in why:
            raise VMError(f"the guest's disk is full: {what} can't be brought there")
        raise VMError(f"{what} could not be brought into the guest: {why}")
