"""What a step is: one change to the machine, with five faces.

do     make the change
undo   take it back, from what the journal kept
shell  say it as a line that a person could type; `undo_shell` the same for undo
seen   find it in the kernel's own tables
why    say what it is for
"""


class Start:
    """What is known only at the moment when a container's process starts; steps find it here.

    `pid` is the process as the host counts it.  `go` is the end of the start pipe that the process reads.
    `words` is the command that came through it.  `born_in` is the control group in which the process was born, empty when
    it was born in the runtime's own.
    """

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.pid = 0
        self.go = -1
        self.born_in = ""


class Step:
    """The base of all steps.  A step's attributes are its fields: strings, numbers, lists, as JSON has them."""

    why = ""

    @property
    def birthplace(self) -> str:
        """The control group that the process is put into by this step, if it may just as well be born there."""
        return ""

    def look(self) -> dict[str, object]:
        """What was there before, as far as `undo` needs it.  Written to the journal before `do`."""
        return {}

    def do(self, start: Start) -> None:
        """Make the change.  Raises OSError (SystemCallFailed) or Failure."""
        raise NotImplementedError

    def undo(self, before: dict[str, object]) -> None:
        """Take the change back.  Harmless when it never happened or is already undone.

        `before` is what `look` returned when the step was done.
        Raises Failure rather than remove anything that it can't prove to be its own.
        """

    def shell(self) -> str:
        """The same change as POSIX shell; empty when a shell has nothing to do for it."""
        raise NotImplementedError

    def undo_shell(self, before: dict[str, object]) -> str:
        """The same as `undo`, as POSIX shell; empty when there is nothing to undo."""
        return ""

    def seen(self, pid: int) -> str:
        """What the kernel's tables show of this change, as text; empty when they show nothing.

        `pid` is the container's process, as the host counts it.
        """
        return ""

    def fields(self) -> dict[str, object]:
        """The step's fields: with its class they are the whole step."""
        return dict(vars(self))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), repr(sorted(vars(self).items()))))

    def __repr__(self) -> str:
        words = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({words})"


def quoted(*words: str) -> str:
    """Words as a POSIX shell takes them back, unchanged.  (`shlex` would import `re`.)"""
    plain = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%+=:,./-_")
    return " ".join(w if w and set(w) <= plain else "'" + w.replace("'", "'\"'\"'") + "'" for w in words)
