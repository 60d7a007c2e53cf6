"""5.7  Any image, by name; a layer and a mount for each container; and an image from each: `commit CONTAINER IMAGE`."""

from stages import options
from stages.kernel import records
from stages.kernel.errors import Failure
from stages.kernel.places import Places, check_image_name
from stages.kernel.spec import Spec
from stages.stage import Stage as Before


class Stage(Before):
    """The same steps as before, with the container's name in every path."""

    takes_image = True

    def plan(self, spec: Spec) -> None:
        super().plan(spec)
        spec.write_layer = spec.places.below_root(f"writeLayer/{spec.name}")
        spec.rootfs = spec.mount_point = spec.places.below_root(f"mnt/{spec.name}")
        spec.work = f"{spec.places.hidden}/work/{spec.name}"
        spec.shared = False


def commit(places: Places, words: list[str]) -> int:
    """Pack the container's merged view, its volumes included, as `IMAGE.tar`, and print its path.  Raises Failure."""
    from stages.kernel import commit as packing

    packing.commit(places, *wanted(places, words))
    return 0


def wanted(places: Places, words: list[str]) -> tuple[str, dict[str, list[str]], str, bool, bool]:
    """What is to be packed, who writes there (names and control groups), the new image's name, and how.  Raises Failure."""
    found, rest = options.split("commit", words, set(), {"z", "gzip", "reproducible"})
    if len(rest) != 2:
        raise Failure("commit: it takes a container and the name of the new image: commit CONTAINER IMAGE")
    record = records.find(places, rest[0])
    how = {name for name, _ in found}
    writers = {record.name: record.groups}
    return (
        record.text("mount_point"),
        writers,
        check_image_name(rest[1]),
        bool(how & {"z", "gzip"}),
        "reproducible" in how,
    )
