"""4.3  A directory of the host, mounted into the container, outlives it."""

from stages.kernel import steps, volumes
from stages.kernel.spec import Spec
from stages.stage import Stage as Before
from stages.stage import Steps


def _volume(spec: Spec, value: str) -> None:
    spec.volumes.append(volumes.parse(value))


class Stage(Before):
    """As many volumes as one likes."""

    options = {"v": _volume}
    usage = "[-v HOST:CONTAINER]..."

    def outside(self, spec: Spec) -> Steps:
        yield from super().outside(spec)
        for source, target in spec.volumes:
            yield steps.HostDirectory(source)
            yield steps.Volume(source, spec.rootfs, target)
