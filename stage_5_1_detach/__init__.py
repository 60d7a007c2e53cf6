"""5.1  Nobody waits for it: the runtime ends, and the orphan is adopted by PID 1."""

from stages.kernel.errors import Failure
from stages.kernel.spec import Spec
from stages.stage import Stage as Before


def _detach(spec: Spec, _: str) -> None:
    spec.detached = True


class Stage(Before):
    """No shim, no daemon: what stays is the container's own process."""

    switches = {"d": _detach}
    usage = "[-d]"

    def plan(self, spec: Spec) -> None:
        super().plan(spec)
        if spec.detached and spec.terminal:
            raise Failure("-ti and -d contradict each other: a detached container has no terminal")
        if spec.detached:
            spec.output = "/dev/null"
