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


@mutant("5.1", since="5.1", kills={"adopted", "detached", "ends_by_itself"})
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


@mutant("5.2", since="5.2", kills={"ended_is_not_running", "name_in_use", "ps", "two_at_once"})
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


@mutant("5.2", since="5.2", kills={"two_at_once"})
def name_checked_and_then_made() -> None:
    """Whether a name is free is looked up first, and the name taken a moment later."""
    import os
    import time

    from stages.kernel import container, locks, steps
    from stages.kernel.errors import Failure

    def claim(spec: object, home: str) -> int:
        if os.path.exists(home):
            raise Failure(f"the name {spec.name} is in use")
        time.sleep(1)
        os.makedirs(home, exist_ok=True)
        return locks.take_directory(home)

    def do(self: steps.RecordDirectory, start: object) -> None:
        steps.MakeDirs(self.path, 0o700).do(start)
        steps.mark_as_ours(self.path, self.container_id)

    container._claim = claim
    steps.RecordDirectory.look = lambda self: {"missing": steps.missing_directories(self.path)}
    steps.RecordDirectory.do = do


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


@mutant("5.3", since="5.3", kills={"standard_error_in_log"})
def standard_error_dropped() -> None:
    """What a detached container writes to standard error goes nowhere."""
    import os

    from stages.kernel import inside

    streams = inside.Streams.do

    def do(self: inside.Streams, start: inside.Start) -> None:
        streams(self, start)
        if self.output:
            os.dup2(os.open("/dev/null", os.O_WRONLY), 2)

    inside.Streams.do = do


@mutant("5.5", since="5.5", kills={"stop[sleep]", "stop_asks_first"})
def stop_only_sends_term() -> None:
    """`stop` sends SIGTERM, writes down that it has stopped, and that is all."""
    from stages.kernel import life, signals

    life.end = lambda pidfd, pid, patience: signals.send(pidfd, signals.SIGTERM)


@mutant("5.5", since="5.5", kills={"stop_asks_first"})
def stop_only_sends_kill() -> None:
    """`stop` sends SIGKILL at once."""
    from stages.kernel import life

    life.end = lambda pidfd, pid, patience: life.kill_and_wait(pidfd)


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


@mutant("5.6", since="5.6", kills={"record", "rm"})
def rm_without_a_test_of_life() -> None:
    """`rm` removes what a container needs while it runs."""
    import os

    import stage_5_6_rm
    from stages.kernel import journal, steps

    rm = stage_5_6_rm.rm

    def try_to_remove(self: steps.MakeCgroup, before: dict[str, object]) -> None:
        if steps._remove_if_empty(self.path):  # the container is in it
            steps._remove_if_empty(os.path.dirname(self.path))

    def blindly(*how: object) -> int:
        journal.Done.is_alive = lambda self: False
        steps.MakeCgroup.undo = try_to_remove
        return rm(*how)

    stage_5_6_rm.rm = blindly


@mutant("5.2", since="5.2", kills={"container_names"})
def container_name_not_checked() -> None:
    """A container's name may be a path: its last part is taken for the name."""
    import os

    import stage_5_2_ps

    stage_5_2_ps.check_new_container = lambda name: os.path.basename(name) or "x"


@mutant("5.2", since="5.2", kills={"name_in_use", "two_at_once"})
def name_taken_over() -> None:
    """A second container of the same name ends the first one, and takes its place."""
    from stages.kernel import container, machine

    claim = container._claim

    def take_over(spec: object, home: str) -> int:
        machine.end(home)
        machine.undo(home)
        return claim(spec, home)

    container._claim = take_over


@mutant("5.2", since="5.2", kills={"ended_is_not_running"})
def status_believed() -> None:
    """`ps` prints the status that was written down, whether the process lives or not."""
    from stages.kernel import records

    records.Record.status = lambda self: self.text("status")


@mutant("5.3", since="5.3", kills={"refusals_are_no_success"})
def errors_end_with_0() -> None:
    """An error is told, and the exit code is 0."""
    from stages.kernel.errors import Failure

    Failure.exit_code = property(lambda self: 0, lambda self, code: None)


@mutant("5.6", since="5.6", kills={"ended_can_be_removed"})
def the_ended_stays() -> None:
    """A container that has ended by itself is passed over by `stop` and by `rm`, which say so by exit code 0."""
    import stage_5_5_stop
    import stage_5_6_rm
    from stages.kernel import records

    def of_what_does_not_live(verb: object) -> object:
        def passes_over(places: object, words: list[str]) -> int:
            record = records.find(places, words[-1])
            ended = record.text("status") == records.RUNNING and not record.is_alive()
            return 0 if ended else verb(places, words)

        return passes_over

    stage_5_5_stop.stop = of_what_does_not_live(stage_5_5_stop.stop)
    stage_5_6_rm.rm = of_what_does_not_live(stage_5_6_rm.rm)


@mutant("5.6", since="5.6", kills={"busy_volume_rm", "names_to_remove", "record", "rm", "stop_then_rm"})
def rm_after_a_stop_that_did_not() -> None:
    """`stop` only sends SIGTERM, and `rm` does not look whether that was enough."""
    import os

    from stages.kernel import journal, life, signals, steps

    def remove(self: steps.MakeCgroup, before: dict[str, object]) -> None:
        if steps._remove_if_empty(self.path):  # the container may be in it
            steps._remove_if_empty(os.path.dirname(self.path))

    life.end = lambda pidfd, pid, patience: signals.send(pidfd, signals.SIGTERM)
    journal.Done.is_alive = lambda self: False
    steps.MakeCgroup.undo = remove


@mutant("5.6", since="5.6", kills={"busy_volume_rm", "names_to_remove", "record", "rm"})
def rm_of_any_path() -> None:
    """`rm` removes the directory of the record, wherever the name leads, and ends with 0."""
    import shutil

    import stage_5_6_rm
    from stages.kernel.errors import Failure

    rm = stage_5_6_rm.rm

    def remove(places: object, words: list[str]) -> int:
        try:
            return rm(places, words)
        except Failure:
            shutil.rmtree(places.record(words[-1]), ignore_errors=True)
            return 0

    stage_5_6_rm.rm = remove
