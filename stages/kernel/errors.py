"""What the kernel raises when it refuses or fails: one sentence and an exit code."""


class Failure(Exception):
    """One sentence for the person at the terminal, and the exit code that goes with it.

    The codes are Docker's: 125 the runtime failed or refused, 126 the command can't be executed,
    127 the command was not found.  https://docs.docker.com/engine/containers/run/#exit-status
    """

    def __init__(self, sentence: str, exit_code: int = 125) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Interrupted(Failure):
    """Somebody asked the runtime to end, by the signal `number`.  Who gets over another Failure has to let this one through."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted: all is as it was before", 128 + number)
