"""5.8  An environment of the user's choosing, in run and in exec."""

from stages.kernel.errors import Failure
from stages.kernel.spec import Spec
from stages.stage import Stage as Before


def _environment(spec: Spec, value: str) -> None:
    key, equals, _ = value.partition("=")
    if not key or not equals:
        raise Failure(f"-e {value}: an environment variable is given as KEY=VALUE")
    spec.environment = [pair for pair in spec.environment if not pair.startswith(f"{key}=")] + [value]


class Stage(Before):
    """Only what is asked for: nothing of the host's environment comes along."""

    options = {"e": _environment}
    usage = "[-e KEY=VALUE]..."
