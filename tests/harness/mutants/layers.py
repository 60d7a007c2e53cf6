"""Faults at the layers: where what a container writes goes, and how long it stays."""

from tests.harness.mutants.mutant import mutant


@mutant("4.1", since="4.1", kills={"writes_land_in_the_image"})
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


@mutant("4.2", since="4.2", kills={"fresh_layer", "root_stays", "write_layer"})
def writes_land_in_the_image() -> None:
    """There is no union: the image itself is mounted as the container's view, and written to."""
    from stages.kernel import layers, syscalls

    def mount(driver: str, mount_point: str, write: str, image: str, *others: object) -> None:
        syscalls.mount(image, mount_point, "", syscalls.MS_BIND)

    layers.mount = mount


@mutant("4.2", since="4.2", kills={"fresh_layer", "root_stays", "write_layer"})
def layer_kept_for_the_next() -> None:
    """The write layer stays when the container ends, and the next one gets it."""
    from stages.kernel import steps

    steps.WriteLayer.look = lambda self: {}
    steps.WriteLayer.undo = lambda self, before: None


@mutant(
    "5.7", since="5.7", kills={"layer_outlives", "rm_of_one", "two_containers", "two_layers"}, weakly={"commit_again"}
)
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


@mutant("5.7", since="5.7", kills={"commit_again"})
def stale_unpacked_image() -> None:
    """An image that was unpacked once is never unpacked again, also when its tar is another one now."""
    import os

    from stages.kernel import images

    images.is_current = lambda tarball, directory: os.path.isdir(directory)


@mutant("4.2", since="4.2", kills={"root_stays"})
def root_removed_too_early() -> None:
    """What is the container's is removed before its end is waited for."""
    import os
    import shutil
    import time

    from stages.kernel import foreground

    wait = foreground.wait

    def remove_and_wait(pid: int, settings: object) -> int:
        time.sleep(0.1)  # a short command has ended then
        try:
            while os.path.samefile(
                f"/proc/{pid}/exe", "/proc/self/exe"
            ):  # until it is the command its root is the machine's
                time.sleep(0.01)
            shutil.rmtree(f"/proc/{pid}/root/bin", ignore_errors=True)
        except OSError:
            pass  # it has ended
        return wait(pid, settings)

    foreground.wait = remove_and_wait


@mutant(
    "5.7",
    since="5.7",
    kills={
        "commit_again",
        "commit_of_unknown",
        "image_in_a_tar",
        "image_with_pivot_root[directory]",
        "image_with_pivot_root[file]",
        "layer_outlives",
        "two_containers",
        "two_layers",
        "unknown_image",
        "volume_through_link[absolute]",
        "volume_through_link[relative]",
    },
    weakly={"container_from_the_image", "rm_of_one", "volume_in_the_image"},
)
def directory_of_an_unknown_image() -> None:
    """The directory of an image is made before its tar is looked for, and stays when there is none."""
    import os

    from stages.kernel import images

    require = images.require

    def make_and_require(places: object, image: str) -> None:
        os.makedirs(places.below_root(image), exist_ok=True)
        require(places, image)

    images.require = make_and_require


@mutant("5.7", since="5.7", kills={"image_names"})
def image_name_repaired() -> None:
    """An image's name that leads elsewhere is not refused: what is odd in it is left out."""
    from stages import options

    split = options.split

    def repaired(verb: str, *how: object, **more: object) -> object:
        found, rest = split(verb, *how, **more)
        if verb == "run" and rest:
            rest[0] = rest[0].strip("./") or "busybox"
        return found, rest

    options.split = repaired
