"""4.1  An image becomes the container's root: pivot_root, then /proc and a tmpfs on /dev."""

from stages.kernel import inside, steps
from stages.kernel.spec import Spec
from stages.stage import Stage as Before
from stages.stage import Steps


class Stage(Before):
    """The host's files are gone from the container's view; what it writes lands in the image itself."""

    def plan(self, spec: Spec) -> None:
        super().plan(spec)
        spec.image = spec.image or "busybox"
        spec.rootfs = spec.image_dir = spec.places.below_root(spec.image)
        spec.directory = "/"

    def outside(self, spec: Spec) -> Steps:
        yield from super().outside(spec)
        yield steps.UnpackImage(spec.places.tarball(spec.image), spec.image_dir, spec.places.hidden)

    def root(self, spec: Spec) -> Steps:
        yield inside.BindRoot(spec.rootfs)
        yield inside.PivotRoot(spec.rootfs)
        yield from super().root(spec)
        yield inside.Dev()
        yield inside.Devices()
