"""What a chapter's program looks like, without doing it."""

from stages import Rung, load, up_to
from stages.kernel.places import Places
from stages.kernel.spec import Program, Spec
from stages.kernel.step import Step

PLACES = (
    "On the host, before there is a process",
    "On the host, as soon as there is one",
    "In the container's process",
)


def example(rung: Rung) -> Program:
    """The program of a container that asks for all that the chapter can do."""
    stage = load(rung)
    spec = Spec("container1", "4053391054", Places("/root", "/var/run/zocker"), ["top"])
    options = stage.all_options()
    wanted = {"m": "100m", "cpushare": "512", "cpuset": "0", "v": "/root/from1:/to1", "e": "GREETING=hello"}
    for name, value in wanted.items():
        if name in options:
            options[name](spec, value)
    if "d" in stage.all_switches():
        stage.all_switches()["d"](spec, "")
    if stage.keeps_records:
        spec.created = "2022-05-04 20:59:22"
    stage.plan(spec)
    return stage.program(spec)


def with_origins(rung: Rung) -> list[tuple[str, list[tuple[Step, Rung]]]]:
    """The chapter's steps in their three places, each with the chapter since which it has been as it is."""
    programs = [(step, example(step)) for step in up_to(rung)]
    whole = programs[-1][1]
    lists = (whole.outside, whole.started, whole.inside)
    return [
        (place, [(step, _origin(step, programs)) for step in steps]) for place, steps in zip(PLACES, lists, strict=True)
    ]


def new_steps(rung: Rung) -> list[tuple[Step, Rung]]:
    """The steps that the chapter adds or changes."""
    return [pair for _, steps in with_origins(rung) for pair in steps if pair[1] is rung]


def _origin(step: Step, programs: list[tuple[Rung, Program]]) -> Rung:
    origin = programs[-1][0]
    for rung, program in reversed(programs):
        if step not in program.all():
            break
        origin = rung
    return origin
