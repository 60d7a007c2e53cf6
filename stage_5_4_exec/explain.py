"""The script of `exec`."""

from stage_5_4_exec import ORDER, steps_of, wanted
from stages import Rung
from stages.explain.script import CLOSE, RUNS, Script
from stages.kernel import inside, steps
from stages.kernel.errors import Failure
from stages.kernel.places import Places
from stages.kernel.step import quoted


def write(script: Script, rung: Rung, command: str, places: Places, words: list[str]) -> None:
    """Write down how a command is run in a container.  Raises Failure."""
    record, spec = wanted(places, words)
    if not record.is_alive():
        raise Failure(f"{record.name} is not running, so there is nothing to join: see `ps`")
    cannot = [
        "It looks once more who the process is, when it has opened its namespaces: here its number could become another's in between.",
        "It tells a command that is not there (127) from one that can't be executed (126), in words of its own.",
    ]
    script.head(rung, command, ["and in the image env"], cannot)
    script.said("A number alone can be another process's by now: with its time of start it can't.", RUNS)
    script.plain(
        f"runs {spec.joins} {spec.joins_since} || {{ echo {quoted(record.name + ' is not running')} >&2; exit 125; }}"
    )
    for step in steps_of(spec).started:
        assert isinstance(step, steps.JoinCgroup)
        script.said(
            f"{step.why} (0 stands for this shell, which becomes the command's parent.)",
            *(f"echo 0 >{quoted(group + '/cgroup.procs')}" for group in step.groups),
        )
    join = inside.JoinNamespaces(spec.joins, spec.joins_since, ORDER)
    script.said(
        f"{join.why} nsenter joins them in the order {', '.join(ORDER)}. Only a child is born into a pid namespace, so it forks then.",
        f"{CLOSE} # the command is to have no file open but the three",
        f"exec {join.shell()} -- \\",
        f"    env -i {quoted(*spec.environment, *spec.words)}",
    )
