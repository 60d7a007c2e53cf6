"""3.2  A control group limits what the container may use."""

from stages.kernel import cgroups, steps
from stages.kernel.spec import Spec
from stages.stage import Stage as Before
from stages.stage import Steps


def _memory(spec: Spec, value: str) -> None:
    spec.memory = cgroups.parse_memory(value)


def _shares(spec: Spec, value: str) -> None:
    spec.cpu_shares = cgroups.parse_shares(value)


def _cpuset(spec: Spec, value: str) -> None:
    spec.cpuset = cgroups.parse_cpuset(value)


class Stage(Before):
    """A group for each container, its limits in files, its process inside."""

    options = {"m": _memory, "cpushare": _shares, "cpuset": _cpuset}
    usage = "[-m 100m] [-cpushare 512] [-cpuset 0-1]"

    def plan(self, spec: Spec) -> None:
        super().plan(spec)
        spec.groups, self.limits = cgroups.plan(spec.container_id, spec.memory, spec.cpu_shares, spec.cpuset)

    def outside(self, spec: Spec) -> Steps:
        yield from super().outside(spec)
        yield from self.limits

    def started(self, spec: Spec) -> Steps:
        yield from super().started(spec)
        yield steps.JoinCgroup(spec.groups)
