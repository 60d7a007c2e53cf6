"""3.3  The container waits at a pipe: its command comes through it when its limits are set."""

from stages.kernel import inside
from stages.kernel.spec import Spec
from stages.stage import Stage as Before
from stages.stage import Steps


class Stage(Before):
    """Nothing of the user's runs before the limits hold."""

    def command(self, spec: Spec) -> Steps:
        yield inside.ReceiveCommand()
        yield from super().command(spec)
