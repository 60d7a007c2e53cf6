"""Faults at the volumes."""

from tests.harness.mutants.mutant import mutant


@mutant("4.3", since="4.3", kills={"many_volumes", "missing_directory", "volume"})
def volume_read_only() -> None:
    """The container can't write to its volume."""
    from stages.kernel import steps, syscalls

    bind = steps.Volume.do

    def do(self: steps.Volume, start: steps.Start) -> None:
        bind(self, start)
        remount = 0x20  # MS_REMOUNT
        syscalls.mount("", self.rootfs + self.target, "", syscalls.MS_BIND | syscalls.MS_RDONLY | remount)

    steps.Volume.do = do


@mutant("4.3", since="4.3", kills={"bad_volumes", "volume_with_dots"}, name="volume-path-not-checked")
@mutant("5.7", since="5.7", kills={"volume_through_link[absolute]", "volume_through_link[relative]"})
def volume_target_followed() -> None:
    """The path in the container is looked up on the host: `..` and symbolic links lead out of the container."""
    import os

    from stages.kernel import volumes

    def make_target(root: int, target: str, source: str) -> int:
        path = os.readlink(f"/proc/self/fd/{root}") + target
        os.makedirs(path, exist_ok=True)
        return os.open(path, os.O_PATH | os.O_CLOEXEC)

    volumes.parse = lambda value: tuple(value.split(":"))
    volumes.make_target = make_target


@mutant("4.3", since="4.3", kills={"many_volumes"})
def last_volume_only() -> None:
    """Of several -v only the last one counts."""
    import stage_4_3_volume
    from stages.kernel import volumes

    def volume(spec: object, value: str) -> None:
        spec.volumes = [volumes.parse(value)]

    stage_4_3_volume.Stage.options["v"] = volume


@mutant("4.3", since="4.3", kills={"bad_volumes"})
def bad_volume_passed_over() -> None:
    """A -v that can't be is passed over, and the command runs without it."""
    import stage_4_3_volume
    from stages.kernel.errors import Failure

    parse = stage_4_3_volume.Stage.options["v"]

    def volume(spec: object, value: str) -> None:
        try:
            parse(spec, value)
        except Failure:
            pass

    stage_4_3_volume.Stage.options["v"] = volume


@mutant("4.3", since="4.3", kills={"busy_volume"})
@mutant("5.6", since="5.6", kills={"busy_volume_rm"}, name="umount-failure-passed-over-by-rm")
def umount_failure_passed_over() -> None:
    """An umount that fails is passed over, and then what is seen there is deleted."""
    import shutil

    from stages.kernel import steps
    from stages.kernel.errors import Failure

    unmount = steps.unmount

    def unmount_or_delete(target: str, where: str = "") -> None:
        try:
            unmount(target, where)
        except Failure:
            shutil.rmtree(target, ignore_errors=True)

    steps.unmount = unmount_or_delete


@mutant("4.3", since="4.3", kills={"many_volumes", "missing_directory"})
def volume_left_out_when_missing() -> None:
    """A volume whose directory is missing on the host is left out."""
    import os

    from stages.kernel import steps

    mount, look = steps.Volume.do, steps.Volume.look
    steps.HostDirectory.do = lambda self, start: None
    steps.Volume.look = lambda self: look(self) if os.path.exists(self.source) else {"device": 0, "inode": 0}
    steps.Volume.do = lambda self, start: mount(self, start) if os.path.exists(self.source) else None
