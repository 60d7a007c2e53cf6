"""Union mounts: aufs where the kernel has it, overlay elsewhere.  Both get the branches the same way round.

https://docs.kernel.org/filesystems/overlayfs.html, https://aufs.sourceforge.net/aufs.html
"""

from stages.kernel import syscalls
from stages.kernel.errors import Failure
from stages.kernel.step import quoted

# Without these three, whiteouts and opaque directories are all that a layer says about the image below it:
# no directory that is a pointer to another one, no file whose data is elsewhere.
_PLAIN = "redirect_dir=nofollow,metacopy=off,index=off"


def driver() -> str:
    """`aufs` or `overlay`, what this kernel has.  Raises Failure when it has neither."""
    with open("/proc/filesystems") as file:
        known = {line.split()[-1] for line in file}
    for name in ("aufs", "overlay"):
        if name in known or _can_be_loaded(name):
            return name
    raise Failure("this kernel has neither aufs nor overlay (see /proc/filesystems): try `modprobe overlay`")


def _can_be_loaded(name: str) -> bool:
    import os

    path = f"/lib/modules/{os.uname().release}/modules.dep"
    try:
        with open(path) as file:
            return any(line.partition(":")[0].rsplit("/", 1)[-1].startswith(f"{name}.ko") for line in file)
    except OSError:
        return False


def _source_and_options(driver: str, write: str, image: str, work: str, volatile: bool) -> tuple[str, str]:
    if driver == "aufs":
        return "none", f"dirs={write}=rw:{image}=ro"
    lower = _escaped(image).replace(":", "\\:")
    options = f"lowerdir={lower},upperdir={_escaped(write)},workdir={_escaped(work)},{_PLAIN}"
    return "overlay", options + (",volatile" if volatile else "")


def _escaped(path: str) -> str:
    """A comma ends an option and a colon a branch: in a path they need a backslash."""
    return path.replace("\\", "\\\\").replace(",", "\\,")


def mount(driver: str, mount_point: str, write: str, image: str, work: str, volatile: bool) -> None:
    """Mount the union of `write` over `image` at `mount_point`.  Raises SystemCallFailed.

    `work` is overlay's own scratch directory, on the file system of `write`.  `volatile` spares the sync at the end: only
    for a layer that dies with its mount, since it makes fsync inside the container a lie.
    """
    source, options = _source_and_options(driver, write, image, work, volatile)
    syscalls.mount(source, mount_point, driver, 0, options)


def shell(driver: str, mount_point: str, write: str, image: str, work: str, volatile: bool) -> str:
    """The same as a line for a shell."""
    source, options = _source_and_options(driver, write, image, work, volatile)
    return f"mount -t {driver} -o {quoted(options)} {source} {quoted(mount_point)}"
