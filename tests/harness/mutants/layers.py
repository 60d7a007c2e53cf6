"""Faults at the layers: where what a container writes goes, and how long it stays."""

from tests.harness.mutants.mutant import mutant


@mutant("4.1", kills={"writes_land_in_the_image"})
def writes_land_nowhere() -> None:
    """What the container writes goes to memory, and is gone with it."""
    import os

    from stages.kernel import inside, layers, syscalls

    def do(self: inside.BindRoot, start: object) -> None:
        syscalls.mount("tmpfs", "/mnt", "tmpfs")
        os.mkdir("/mnt/write")
        os.mkdir("/mnt/work")
        layers.mount("overlay", self.rootfs, "/mnt/write", self.rootfs, "/mnt/work", volatile=False)

    inside.BindRoot.do = do


@mutant("4.2", kills={"fresh_layer", "write_layer"})
def writes_land_in_the_image() -> None:
    """There is no union: the image itself is mounted as the container's view, and written to."""
    from stages.kernel import layers, syscalls

    def mount(driver: str, mount_point: str, write: str, image: str, *others: object) -> None:
        syscalls.mount(image, mount_point, "", syscalls.MS_BIND)

    layers.mount = mount


@mutant("4.2", kills={"fresh_layer", "write_layer"})
def layer_kept_for_the_next() -> None:
    """The write layer stays when the container ends, and the next one gets it."""
    from stages.kernel import steps

    steps.WriteLayer.look = lambda self: {}
    steps.WriteLayer.undo = lambda self, before: None


@mutant("5.7", since="5.7", kills={"layer_outlives", "the_chapters_transcript"})
def layer_shared() -> None:
    """All containers write to one and the same layer."""
    import stage_commit
    from stages.kernel import steps

    plan = stage_commit.Stage.plan

    def shared(self: object, spec: object) -> None:
        plan(self, spec)
        spec.write_layer = spec.places.below_root("writeLayer/all")

    stage_commit.Stage.plan = shared
    missing = steps.missing_directories
    steps.WriteLayer.look = lambda self: {"missing": missing(self.path) + missing(self.work)}
