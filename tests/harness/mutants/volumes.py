"""Faults at the volumes."""

from tests.harness.mutants.mutant import mutant


@mutant("4.3", since="4.3", kills={"volume"})
def volume_read_only() -> None:
    """The container can't write to its volume."""
    from stages.kernel import steps, syscalls

    bind = steps.Volume.do

    def do(self: steps.Volume, start: steps.Start) -> None:
        bind(self, start)
        remount = 0x20  # MS_REMOUNT
        syscalls.mount("", self.rootfs + self.target, "", syscalls.MS_BIND | syscalls.MS_RDONLY | remount)

    steps.Volume.do = do
