"""Faults at the control groups, and at the start pipe at which the command waits for them."""

from tests.harness.mutants.mutant import mutant


@mutant("3.2", since="3.2", kills={"cpuset_with_memory", "limits_do_not_leak", "memory_limit"})
def memory_limit_not_written() -> None:
    """The group is made and entered, but its memory limit is not written."""
    from stages.kernel import steps

    write = steps.SetLimit.do

    def do(self: steps.SetLimit, start: steps.Start) -> None:
        if "/memory." not in self.path:
            write(self, start)

    steps.SetLimit.do = do


@mutant("3.2", since="3.2", kills={"cpuset", "cpuset_with_memory", "limits_do_not_leak"})
def cpuset_cpus_unset() -> None:
    """cpuset.cpus is given all CPUs, whichever are asked for."""
    from stages.kernel import kernelfiles, steps

    write = steps.SetLimit.do

    def do(self: steps.SetLimit, start: steps.Start) -> None:
        if self.path.endswith("/cpuset.cpus"):
            self.value = kernelfiles.read("/sys/devices/system/cpu/online")
        write(self, start)

    steps.SetLimit.do = do


@mutant("3.2", since="3.2", kills={"cpuset", "cpuset_with_memory", "limits_do_not_leak"}, only_v1=True)
def cpuset_mems_unset() -> None:
    """cpuset.mems is not written, so that no process can enter the group; and that failure is passed over."""
    from stages.kernel import steps

    write, join = steps.SetLimit.do, steps.JoinCgroup.do

    def do(self: steps.SetLimit, start: steps.Start) -> None:
        if not self.path.endswith("/cpuset.mems"):
            write(self, start)

    def try_to_join(self: steps.JoinCgroup, start: steps.Start) -> None:
        for group in self.groups:
            try:
                join(steps.JoinCgroup([group]), start)
            except OSError:
                pass

    steps.SetLimit.do, steps.JoinCgroup.do = do, try_to_join


@mutant("3.2", since="3.2", kills={"cpu_shares", "limits_do_not_leak"})
def one_cgroup_for_all() -> None:
    """All containers are in one group of each kind, so that the limits of one are the limits of all."""
    import os

    from stages.kernel import cgroups, steps

    plan = cgroups.plan

    def for_all(container_id: str, *limits: object) -> object:
        groups, todo = plan("all", *limits)
        every, _ = plan("all", 100 << 20, 0, "0")
        return [group for group in every if group in groups or os.path.isdir(group)], todo

    def make(self: steps.MakeCgroup, start: steps.Start) -> None:
        os.makedirs(self.path, exist_ok=True)

    def remove(self: steps.MakeCgroup, before: dict[str, object]) -> None:
        if steps._remove_if_empty(self.path):  # others may be in it
            steps._remove_if_empty(os.path.dirname(self.path))

    cgroups.plan, steps.MakeCgroup.do, steps.MakeCgroup.undo = for_all, make, remove


@mutant("3.2", since="3.2", kills={"cpuset_with_memory", "limits_do_not_leak"})
def cpuset_dropped_beside_memory() -> None:
    """With -m, -cpuset does nothing."""
    from stages.kernel import cgroups

    plan = cgroups.plan
    cgroups.plan = lambda who, memory, shares, cpuset: plan(who, memory, shares, "" if memory else cpuset)


@mutant("3.2", since="3.2", kills={"cpu_shares"})
def shares_not_written() -> None:
    """-cpushare does nothing."""
    from stages.kernel import cgroups

    plan = cgroups.plan
    cgroups.plan = lambda who, memory, shares, cpuset: plan(who, memory, 0, cpuset)


@mutant("3.2", since="3.2", kills={"bad_limits"})
def bad_limit_passed_over() -> None:
    """A memory limit that is none is passed over, and the command runs without it."""
    from stages.kernel import cgroups
    from stages.kernel.errors import Failure

    parse = cgroups.parse_memory

    def try_to_parse(value: str) -> int:
        try:
            return parse(value)
        except Failure:
            return 0

    cgroups.parse_memory = try_to_parse


@mutant("3.3", since="3.3", kills={"limits_come_first"})
def start_pipe_skipped() -> None:
    """The command does not wait at the pipe, and runs before its limits; setting them takes a moment."""
    import time

    from stages.kernel import inside, steps

    inside.ReceiveCommand.do = lambda self, start: None  # the words are known since the fork
    steps.JoinCgroup.birthplace = ""
    join = steps.JoinCgroup.do

    def slowly(self: steps.JoinCgroup, start: steps.Start) -> None:
        time.sleep(0.3)
        join(self, start)

    steps.JoinCgroup.do = slowly


@mutant("3.3", since="3.3", kills={"no_go_from_the_dead"})
def end_of_file_taken_as_go() -> None:
    """When the start pipe ends without a command, because the program is gone, the command is run."""
    import os

    from stages.kernel import inside, syscalls

    receive, end = inside.ReceiveCommand.do, os._exit

    def stop_reading(code: int) -> None:
        raise EOFError

    def do(self: inside.ReceiveCommand, start: inside.Start) -> None:
        os._exit = stop_reading
        try:
            receive(self, start)
        except EOFError:  # the words are known since the fork
            os.write = lambda descriptor, report: len(report)  # nobody is there to whom it could be reported
        os._exit = end

    inside.ReceiveCommand.do = do
    syscalls.die_with_parent = lambda signal: None  # else the kernel would end it


@mutant(
    "3.3",
    kills={"exit_codes", "host_name", "no_go_from_the_dead", "odd_arguments", "pid_1", "working_directory"},
    weakly={"bytes", "limits_come_first"},
)
def arguments_joined() -> None:
    """The command's words are joined on blanks, and split again on the other side."""
    from stages.kernel import inside

    receive = inside.ReceiveCommand.do

    def do(self: object, start: inside.Start) -> None:
        receive(self, start)
        start.words = " ".join(start.words).split()

    inside.ReceiveCommand.do = do


@mutant("3.3", since="3.3", kills={"long_arguments"})
def command_cut_at_a_pipeful() -> None:
    """Only what a pipe holds at a time is read of the command: 65 536 bytes."""
    import os

    from stages.kernel import inside

    def do(self: object, start: inside.Start) -> None:
        pipeful = os.read(start.go, 65_536)
        start.words = [os.fsdecode(word) for word in pipeful[8:].split(b"\0")[:-1]]

    inside.ReceiveCommand.do = do


@mutant("3.3", since="3.3", kills={"bytes"})
def words_taken_for_text() -> None:
    """The command's words are taken for UTF-8, and what is none is replaced."""
    from stages.kernel import inside

    pack = inside.pack_words
    inside.pack_words = lambda words: pack(
        [word.encode(errors="surrogateescape").decode(errors="replace") for word in words]
    )
