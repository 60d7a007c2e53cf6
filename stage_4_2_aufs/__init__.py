"""4.2  Writes go to a layer above the image; the image stays as it was.  One layer for all, gone at exit."""

from stages.kernel import images, layers, steps
from stages.kernel.spec import Spec
from stages.stage import Stage as Before
from stages.stage import Steps


class Stage(Before):
    """Two directories, seen as one."""

    def plan(self, spec: Spec) -> None:
        super().plan(spec)
        spec.image_dir = images.directory_for(spec.places, spec.image)
        spec.write_layer = spec.places.below_root("writeLayer")
        spec.rootfs = spec.mount_point = spec.places.below_root("mnt")
        spec.work = f"{spec.places.hidden}/work/shared"
        spec.shared = True

    def outside(self, spec: Spec) -> Steps:
        yield from super().outside(spec)
        yield steps.WriteLayer(spec.write_layer, spec.work, spec.mount_point, spec.shared)
        yield steps.MakeDirs(spec.mount_point)
        users = spec.places.containers if spec.shared else ""
        # Who shares a layer may be detached and outlive this run: only a layer of one's own, that goes at exit, may skip the sync.
        volatile = not spec.shared and not spec.detached
        yield steps.Union(
            spec.mount_point, spec.write_layer, spec.image_dir, spec.work, layers.driver(), volatile, users
        )
