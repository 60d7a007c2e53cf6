"""Faults at the container's root: pivot_root and what is mounted."""

from tests.harness.mutants.mutant import mutant


@mutant("4.1", since="4.1", kills={"root_of_the_namespace"})
def chroot_instead_of_pivot() -> None:
    """The root is changed by chroot: the host's files are only hidden."""
    import os

    from stages.kernel import inside

    def do(self: inside.PivotRoot, start: object) -> None:
        os.chroot(self.rootfs)
        os.chdir("/")

    inside.PivotRoot.do = do


@mutant("4.1", since="4.1", kills={"root", "root_of_the_namespace", "three_mounts", "writes_land_in_the_image"})
def pivot_failure_passed_over() -> None:
    """The new root is no mount point, so pivot_root says EINVAL; that is passed over, and the command runs on the host's root."""
    from stages.kernel import inside

    inside.BindRoot.do = lambda self, start: None
    pivot = inside.PivotRoot.do

    def do(self: inside.PivotRoot, start: inside.Start) -> None:
        try:
            pivot(self, start)
        except OSError:
            pass

    inside.PivotRoot.do = do
    inside.Dev.do = inside.Devices.do = lambda self, start: None  # else they would be mounted over the host's own


@mutant("4.1", since="4.1", kills={"three_mounts"})
def old_root_kept() -> None:
    """The old root stays mounted below the new one."""
    import os

    from stages.kernel import inside, syscalls

    def do(self: inside.PivotRoot, start: object) -> None:
        old = f"{self.rootfs}/.old"
        os.makedirs(old, exist_ok=True)
        syscalls.pivot_root(self.rootfs, old)
        os.chdir("/")

    inside.PivotRoot.do = do


@mutant("4.3", since="4.1", kills={"later_mounts"})
def sys_mounted_too() -> None:
    """The machine's /sys is in the container."""
    from stages.kernel import inside, syscalls

    mount_proc = inside.Proc.do

    def do(self: inside.Proc, start: inside.Start) -> None:
        mount_proc(self, start)
        syscalls.mount("sysfs", "/sys", "sysfs")

    inside.Proc.do = do


@mutant("4.1", since="4.1", kills={"null"})
def no_devices() -> None:
    """/dev is an empty tmpfs."""
    from stages.kernel import inside

    inside.Devices.do = lambda self, start: None


@mutant("5.7", since="5.7", kills={"image_with_pivot_root[directory]", "image_with_pivot_root[file]"})
def put_old_in_the_way() -> None:
    """The old root is to go to /.pivot_root; when the image has one the pivot fails, and that is passed over."""
    import os

    from stages.kernel import inside

    pivot = inside.PivotRoot.do

    def do(self: inside.PivotRoot, start: inside.Start) -> None:
        if not os.path.lexists(f"{self.rootfs}/.pivot_root"):
            pivot(self, start)

    inside.PivotRoot.do = do
