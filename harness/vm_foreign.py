"""A box of another origin (STAGES_BOX) has Python 3.11, ssh and the user vagrant: the rest is brought along."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.check import NEEDED
from harness.vm_errors import VMError
from harness.vm_guest import Guest

REQUIREMENTS = Path(__file__).resolve().parent / "vagrant" / "box" / "requirements.txt"
BUSYBOX = Path("/bin/busybox")
LOOK = f"""
import sys, importlib.util as u, os
print(sys.version_info >= (3, 11), all(map(u.find_spec, {NEEDED!r})), os.access("/bin/busybox", os.X_OK))
"""
UNPACK = """
directory=$(mktemp -d) && tar -C "$directory" -xf - && python3 - "$directory" <<'END'
import glob, os, site, sys, zipfile
target = site.getsitepackages()[0]
os.makedirs(target, exist_ok=True)
for wheel in glob.glob(sys.argv[1] + "/*.whl"):
    zipfile.ZipFile(wheel).extractall(target)
END
code=$?
rm -rf "$directory"
exit $code
"""


def complete(guest: Guest) -> None:
    """Bring into the guest what the checks need and it lacks.  Raises VMError."""
    looked = guest.run(f"python3 - <<'END'\n{LOOK}END")
    if looked.returncode or b"True" not in looked.stdout.split()[:1]:
        raise VMError("the box has no Python 3.11 or newer as python3: take another one, or unset STAGES_BOX")
    _, has_packages, has_busybox = looked.stdout.split()
    if has_packages != b"True":
        _done(guest.send(["tar", "-C", str(wheels()), "-cf", "-", "."], UNPACK), "the Python packages")
    if has_busybox != b"True":
        if not BUSYBOX.is_file():
            raise VMError(
                "the box has no /bin/busybox, nor has this machine: install busybox-static, which is brought there"
            )
        _done(guest.send(["cat", str(BUSYBOX)], "cat >/bin/busybox && chmod 755 /bin/busybox"), "busybox")


def wheels() -> Path:
    """A directory with the harness's packages as pure wheels, fetched once.  Raises VMError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stages" / "wheels"
    ready = cache / hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    if ready.is_dir():
        return ready
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        target = Path(made) / "wheels"
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        # For whatever Python the guest has.
        pip += ["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none"]
        done = subprocess.run(
            [*pip, f"--dest={target}", f"--requirement={REQUIREMENTS}"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            why = " ".join(done.stderr.split()[-40:])
            raise VMError(f"the box lacks Python packages, and pip could not fetch them: {why}")
        if not ready.is_dir():
            target.rename(ready)
    return ready


def _done(done: "subprocess.CompletedProcess[bytes]", what: str) -> None:
    if done.returncode:
        why = " ".join(done.stderr.decode(errors="replace").split())
        raise VMError(f"the box lacks {what}, and they could not be brought there: {why}")
