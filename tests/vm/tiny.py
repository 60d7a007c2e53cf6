"""A box that boots in a few seconds: Debian's kernel, busybox and dropbear in an initramfs, and an empty disk.

It is made of Debian packages, which are fetched once and kept in the user's cache.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNEL = "linux-image-cloud-amd64"
DROPBEAR = ("dropbear-bin", "libtomcrypt1", "libtommath1")
# In the order in which one needs the other.
MODULES = (
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/char/hw_random/virtio-rng.ko",  # else dropbear waits for randomness
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
)
DIRECTORIES = (
    *("bin", "dev", "etc", "etc/dropbear", "home", "home/vagrant", "home/vagrant/.ssh", "lib", "lib64"),
    *("modules", "proc", "run", "sys", "tmp", "var", "var/lib"),
)
# What Vagrant and the provider call in a guest: https://developer.hashicorp.com/vagrant/docs/boxes/base
SUDO = '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n'
SHUTDOWN = "#!/bin/sh\npoweroff -f\n"
VAGRANTFILE = """Vagrant.configure("2") do |config|
  config.ssh.insert_key = false
  config.ssh.shell = "sh"
  config.vm.guest = :linux
end
"""


class CannotMake(Exception):
    """Why there is no box on this machine, in a sentence."""


def box() -> Path:
    """The box's file, made if there is none for this recipe. Raises CannotMake."""
    recipe = hashlib.sha256((HERE / "tiny.py").read_bytes() + (HERE / "tiny_init").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stages" / "tiny"
    path = cache / f"{recipe}.box"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob("*.box"):
            old.unlink()
        with tempfile.TemporaryDirectory(dir=cache) as work:
            make(Path(work))
            (Path(work) / "box").rename(path)
    return path


def make(work: Path) -> None:
    packages = work / "packages"
    packages.mkdir()
    fetch(packages)
    kernel = next(packages.glob("boot/vmlinuz-*"))
    initramfs = gzip.compress(archive(contents(packages)), compresslevel=1)
    disk = work / "box.img"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "16M"], check=True)
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": 1, "architecture": "amd64"}
    with tarfile.open(work / "box", "w") as tar:
        tar.add(kernel, "vmlinuz")
        tar.add(disk, "box.img")
        for name, data in (
            ("initrd.img", initramfs),
            ("metadata.json", json.dumps(metadata).encode()),
            ("Vagrantfile", VAGRANTFILE.encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def fetch(packages: Path) -> None:
    """Debian's packages, by this machine's apt, unpacked into a directory."""
    if not shutil.which("apt-get"):
        raise CannotMake("the tests' guest is made of Debian packages, and this machine has no apt")
    depends = subprocess.run(["apt-cache", "depends", KERNEL], capture_output=True, text=True).stdout
    kernel = next(
        (line.split()[1] for line in depends.splitlines() if line.startswith("  Depends: linux-image")), KERNEL
    )
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", kernel, *DROPBEAR]
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True)
    if done.returncode:
        raise CannotMake(f"apt can't fetch the tests' guest: {done.stderr.strip().splitlines()[-1]}")
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, packages], check=True)


def contents(packages: Path) -> dict[str, tuple[int, bytes]]:
    """What is in the initramfs: path => mode and data."""
    program, directory = stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    files = dict.fromkeys(DIRECTORIES, (directory, b""))
    files["init"] = (program, (HERE / "tiny_init").read_bytes())
    files["bin/busybox"] = (program, busybox.read_bytes())
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        files.setdefault(f"bin/{applet}", (stat.S_IFLNK | 0o777, b"busybox"))
    files["bin/sudo"] = (program, SUDO.encode())
    files["bin/shutdown"] = (program, SHUTDOWN.encode())
    files["bin/dropbear"] = (program, (packages / "usr/sbin/dropbear").read_bytes())
    for library in libraries(packages):
        where = "lib64" if library.name.startswith("ld-") else "lib"  # as each program names its loader
        files[f"{where}/{library.name}"] = (program, library.read_bytes())
    modules = next(packages.glob("lib/modules/*/kernel"))
    present = [name for name in MODULES if (modules / name).exists()]
    for name in present:
        files[f"modules/{Path(name).name}"] = (program, (modules / name).read_bytes())
    files["modules/order"] = (program, "\n".join(Path(name).name for name in present).encode())
    files["etc/passwd"] = (stat.S_IFREG | 0o644, b"vagrant:x:0:0::/home/vagrant:/bin/sh\n")
    files["etc/group"] = (stat.S_IFREG | 0o644, b"vagrant:x:0:\n")
    files["etc/shells"] = (stat.S_IFREG | 0o644, b"/bin/sh\n")
    files["home/vagrant/.ssh/authorized_keys"] = (stat.S_IFREG | 0o600, public_key())
    return files


def libraries(packages: Path) -> list[Path]:
    """What dropbear is linked with, and the loader that loads it."""
    where = packages / "usr/lib/x86_64-linux-gnu"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(where)}
    listed = subprocess.run(["ldd", packages / "usr/sbin/dropbear"], env=environment, capture_output=True, text=True)
    return [Path(word) for word in listed.stdout.split() if word.startswith("/")]


def public_key() -> bytes:
    """Of the key that Vagrant tries first, and that is everybody's."""
    listed = subprocess.run(["dpkg", "-L", "vagrant"], capture_output=True, text=True).stdout.split()
    keys = [Path(name) for name in listed if name.endswith("keys/vagrant.pub")]
    if not keys:
        raise CannotMake("Vagrant's public key can't be found: the tests know Debian's package of it")
    return keys[0].read_bytes()


def archive(files: dict[str, tuple[int, bytes]]) -> bytes:
    """https://docs.kernel.org/driver-api/early-userspace/buffer-format.html"""
    out = bytearray()
    for number, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], start=1):
        encoded = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)
