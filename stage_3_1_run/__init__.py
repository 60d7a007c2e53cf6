"""3.1  A container is a process in namespaces of its own; the user's command is its PID 1."""

from stages.kernel import inside
from stages.kernel.spec import Spec
from stages.run import run
from stages.stage import Stage as Before
from stages.stage import Steps

__all__ = ["Stage", "run"]


def _terminal(spec: Spec, _: str) -> None:
    spec.terminal = True


class Stage(Before):
    """New namespaces, and a /proc that shows them."""

    switches = dict.fromkeys(("ti", "it", "t", "i"), _terminal)
    usage = "[-ti]"

    def plan(self, spec: Spec) -> None:
        super().plan(spec)
        spec.stdin = "" if spec.terminal else "/dev/null"

    def enter(self, spec: Spec) -> Steps:
        yield inside.Terminal() if spec.terminal else inside.Streams(spec.stdin, spec.output)
        yield inside.Namespaces(spec.namespaces)
        yield inside.PrivateMounts()
        yield inside.Hostname(spec.name)

    def root(self, spec: Spec) -> Steps:
        yield inside.Proc()

    def command(self, spec: Spec) -> Steps:
        yield inside.Execute(spec.words, spec.environment, spec.directory)
