"""Faults in a container's life: detached, listed, logged, stopped, removed."""

from tests.harness.mutants.mutant import mutant


@mutant("5.1", since="5.1", kills={"detached"})
def standard_output_held() -> None:
    """A detached container keeps the standard output of `run -d`."""
    from stages.kernel import inside

    streams = inside.Streams.do

    def do(self: inside.Streams, start: inside.Start) -> None:
        self.output = ""
        streams(self, start)

    inside.Streams.do = do


@mutant("5.1", since="5.1", kills={"detached", "ends_by_itself"})
def detached_ends_with_the_program() -> None:
    """A detached container ends as soon as the program does."""
    from stages.kernel import container, machine

    run = container.run

    def run_and_end(spec: object, program: object) -> int:
        code = run(spec, program)
        if spec.detached:
            machine.end(spec.places.home(spec.name))
        return code

    container.run = run_and_end


@mutant("5.2", since="5.2", kills={"ps"})
def record_has_the_programs_pid() -> None:
    """What is written down as the container's process is the program that started it."""
    import os

    from stages.kernel import steps

    write = steps.WriteRecord.do

    def do(self: steps.WriteRecord, start: steps.Start) -> None:
        us = steps.Start(start.words)
        us.pid = os.getpid()
        write(self, us)

    steps.WriteRecord.do = do


@mutant("5.2", since="5.2", kills={"unnamed"})
def name_is_not_the_id() -> None:
    """A container without a name gets one that is not its id."""
    from stages import run

    class Spec(run.Spec):
        def __init__(self, name: str, *others: object) -> None:
            super().__init__(f"c{name}", *others)

    run.Spec = Spec


@mutant("5.3", since="5.3", kills={"logs"})
def log_truncated() -> None:
    """`logs` shows no more than the first 64 KiB."""
    import os

    import stage_5_3_logs

    left = 65536

    def print_the_first(text: bytes) -> None:
        nonlocal left
        os.write(1, text[:left])
        left = max(0, left - len(text))

    stage_5_3_logs._print = print_the_first


@mutant("5.3", since="5.3", kills={"follow", "logs"})
def log_printed_again() -> None:
    """`logs -f` prints the whole file again at each change."""
    import os

    import stage_5_3_logs

    printed = b""

    def print_all(text: bytes) -> None:
        nonlocal printed
        printed += text
        os.write(1, printed)

    stage_5_3_logs._print = print_all


@mutant("5.5", since="5.5", kills={"stop[sleep]"})
def stop_only_sends_term() -> None:
    """`stop` sends SIGTERM, writes down that it has stopped, and that is all."""
    from stages.kernel import life, signals

    life.end = lambda pidfd, pid, patience: signals.send(pidfd, signals.SIGTERM)


@mutant("5.5", since="5.5", kills={"stop[sleep]", "stop[top]"})
def stop_not_written_down() -> None:
    """`stop` ends the container, and its record stays as it was."""
    from stages.kernel import records

    records.Record.mark_stopped = lambda self, places: None


@mutant("5.5", since="5.5", kills={"number_given_away"})
def life_tested_by_kill_0() -> None:
    """A container is taken for alive when there is any process of its number."""
    import os

    from stages.kernel import life

    def is_alive(pid: int, started: int, boot: str) -> bool:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return pid > 0

    life.is_alive = is_alive
    life.hold = lambda pid, started, boot: os.pidfd_open(pid) if is_alive(pid, started, boot) else None


@mutant("5.6", since="5.6", kills={"rm"})
def rm_without_a_test_of_life() -> None:
    """`rm` removes what a container needs while it runs."""
    import os

    import stage_5_6_rm
    from stages.kernel import journal, steps

    rm = stage_5_6_rm.rm

    def try_to_remove(self: steps.MakeCgroup, before: dict[str, object]) -> None:
        for directory in (self.path, os.path.dirname(self.path)):
            try:
                os.rmdir(directory)
            except OSError:
                return  # the container is in it

    def blindly(*how: object) -> int:
        journal.Done.is_alive = lambda self: False
        steps.MakeCgroup.undo = try_to_remove
        return rm(*how)

    stage_5_6_rm.rm = blindly
