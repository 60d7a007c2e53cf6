"""The ladder: every chapter in order, each the difference to the one before it."""

TYPE_CHECKING = False  # `typing` itself is dear to import
if TYPE_CHECKING:
    from stages.stage import Stage


class Rung:
    """One chapter: its number, its package, its idea in one line, the verb that is new or changed in it.

    `changes_run` is False where a container is started as in the chapter before: then the verb is all.
    """

    def __init__(self, number: str, package: str, idea: str, verb: str = "", changes_run: bool = True) -> None:
        self.number, self.package, self.idea, self.verb, self.changes_run = number, package, idea, verb, changes_run

    @property
    def word(self) -> str:
        """The short name: `commit` for stage_commit, `aufs` for stage_4_2_aufs."""
        return self.package.rpartition("_")[2]


LADDER = (
    Rung("3.1", "stage_3_1_run", "a container is a process in namespaces of its own", "run"),
    Rung("3.2", "stage_3_2_cgroup", "a control group limits what it may use"),
    Rung("3.3", "stage_3_3_pipe", "it waits at a pipe until its limits are set"),
    Rung("4.1", "stage_4_1_busybox", "an image becomes its root"),
    Rung("4.2", "stage_4_2_aufs", "a write layer above keeps the image as it was"),
    Rung("4.3", "stage_4_3_volume", "a directory of the host outlives the container"),
    Rung("4.4", "stage_4_4_package", "the merged view, packed, is an image again", "commit", changes_run=False),
    Rung("5.1", "stage_5_1_detach", "nobody waits for it"),
    Rung("5.2", "stage_5_2_ps", "what runs is written down, and has a name", "ps"),
    Rung("5.3", "stage_5_3_logs", "its output goes to a file", "logs"),
    Rung("5.4", "stage_5_4_exec", "a second command joins its namespaces", "exec", changes_run=False),
    Rung("5.5", "stage_5_5_stop", "a signal ends it, and the record says so", "stop", changes_run=False),
    Rung("5.6", "stage_5_6_rm", "everything it left is removed", "rm", changes_run=False),
    Rung("5.7", "stage_commit", "any image, a layer for each, and an image from each", "commit"),
    Rung("5.8", "stage_5_8_env", "an environment of the user's choosing"),
)


def find(name: str) -> Rung:
    """The rung called `5.7`, `commit` or `stage_commit`.  Raises Failure when there is none.

    Where two chapters share a word, the later one has it.
    """
    from stages.kernel.errors import Failure

    for rung in reversed(LADDER):
        if name in (rung.number, rung.word, rung.package):
            return rung
    numbers = ", ".join(rung.number for rung in LADDER)
    raise Failure(f"there is no stage {name!r}: there are {numbers} (or their words, such as `commit` for 5.7)")


def up_to(rung: Rung) -> "tuple[Rung, ...]":
    """The chapters that make up this one: from the first to `rung` itself."""
    return LADDER[: LADDER.index(rung) + 1]


def verbs(rung: Rung) -> "dict[str, Rung]":
    """The verbs that are known as of `rung`, each with the chapter that defines it then."""
    return {step.verb: step for step in up_to(rung) if step.verb}


def load(rung: Rung) -> "Stage":
    """The whole chapter: all the differences up to it, put together into one class, the newest first.

    Python calls this cooperative inheritance: in each difference `super()` is the chapter before.
    """
    differences = [__import__(step.package).Stage for step in reversed(up_to(rung)) if step.changes_run]
    stage: Stage = type(differences[0].__name__, tuple(differences), {})()
    return stage
