"""What a stage is: the hooks that a chapter may add to."""

from _collections_abc import Callable, Iterator  # `collections.abc` would load all of `collections`, 2 ms

from stages.kernel.spec import Program, Spec
from stages.kernel.step import Step

Steps = Iterator[Step]

# What the value of an option becomes of the spec: raises Failure when the value is bad.
Apply = Callable[[Spec, str], None]


class Stage:
    """One chapter, as the difference to the one before.  All hooks are pure: the same spec gives the same steps.

    A chapter overrides a hook, takes what the chapter before does from `super()`, and adds its own.
    """

    options: dict[str, Apply] = {}
    switches: dict[str, Apply] = {}
    usage = ""  # the new part of run's usage line
    keeps_records = False
    takes_image = False

    def plan(self, spec: Spec) -> None:
        """Fill in what follows from the options: paths, layers, where the output goes."""

    def outside(self, spec: Spec) -> Steps:
        """On the host, before there is a process."""
        yield from ()

    def started(self, spec: Spec) -> Steps:
        """On the host, as soon as there is a process."""
        yield from ()

    def enter(self, spec: Spec) -> Steps:
        """In the container's process, first: into its namespaces."""
        yield from ()

    def root(self, spec: Spec) -> Steps:
        """In the container's process, then: what it sees as its files."""
        yield from ()

    def command(self, spec: Spec) -> Steps:
        """In the container's process, last: become the user's command."""
        yield from ()

    def program(self, spec: Spec) -> Program:
        """All steps of a run of this container."""
        inside = [*self.enter(spec), *self.root(spec), *self.command(spec)]
        return Program(list(self.outside(spec)), list(self.started(spec)), inside)

    @classmethod
    def all_options(cls) -> dict[str, Apply]:
        """The options with a value, of this chapter and all before it."""
        return {name: apply for part in reversed(cls.__mro__) for name, apply in vars(part).get("options", {}).items()}

    @classmethod
    def all_switches(cls) -> dict[str, Apply]:
        """The options without a value, of this chapter and all before it."""
        return {name: apply for part in reversed(cls.__mro__) for name, apply in vars(part).get("switches", {}).items()}

    @classmethod
    def run_usage(cls) -> str:
        """How `run` is called in this chapter."""
        parts = [vars(part).get("usage", "") for part in reversed(cls.__mro__)]
        return " ".join(["run", *filter(None, parts), *(["IMAGE"] if cls.takes_image else []), "COMMAND [ARGUMENT...]"])
