"""Faults of `exec`, and of the environment that it shares with `run`."""

from tests.harness.mutants.mutant import mutant


@mutant("5.4", since="5.4", kills={"exec_is_limited"})
def exec_outside_the_cgroup() -> None:
    """The command of `exec` is in none of the container's control groups."""
    import stage_5_4_exec
    from stages.kernel import steps

    steps_of = stage_5_4_exec.steps_of

    def without(spec: object) -> object:
        program = steps_of(spec)
        program.started = [step for step in program.started if not isinstance(step, steps.JoinCgroup)]
        return program

    stage_5_4_exec.steps_of = without


@mutant(
    "5.4",
    since="5.4",
    kills={"descriptors_in_exec", "environment_leak_in_exec", "exec_is_limited", "namespaces_joined"},
)
def exec_without_the_fork() -> None:
    """After setns of the pid namespace there is no fork, so the command itself is not in it."""
    import os

    from stages.kernel import machine

    fork = machine._fork_into_pid_namespace

    def first_fork_then_join(spec: object, group: str) -> tuple[int, str]:
        return (os.fork(), "") if spec.joins else fork(spec, group)

    machine._fork_into_pid_namespace = first_fork_then_join


@mutant(
    "5.4",
    since="5.4",
    kills={"exec_into_none[ended]", "exec_into_none[unknown]", "namespaces_joined", "order", "pid_1_in_exec"},
)
def exec_without_the_mounts() -> None:
    """`exec` does not join the mount namespace: it sees the host's files."""
    import stage_5_4_exec

    stage_5_4_exec.ORDER.remove("mnt")


@mutant("5.4", since="5.4", kills={"order"})
def exec_joins_in_another_order() -> None:
    """`exec` joins the mount namespace first."""
    import stage_5_4_exec

    stage_5_4_exec.ORDER.sort(key=lambda kind: kind != "mnt")


@mutant("5.8", since="5.8", kills={"env"})
def variables_not_in_exec() -> None:
    """The variables that `run -e` gave are not known in `exec`."""
    from stages.kernel import records

    of = records.of
    records.of = lambda spec: {**of(spec), "environment": spec.environment[:2]}


@mutant(
    "5.5",
    since="5.4",
    kills={"exec_into_none[ended]", "exec_into_none[unknown]", "exec_into_stopped", "exit_codes_of_exec"},
)
def exec_on_the_host() -> None:
    """When there is nothing to join `exec` goes on, and runs the command on the host."""
    import os

    import stage_5_4_exec
    from stages.kernel.errors import Failure

    run = stage_5_4_exec.exec

    def run_anyway(places: object, words: list[str]) -> int:
        try:
            return run(places, words)
        except Failure:
            return os.spawnvp(os.P_WAIT, words[1], words[1:])

    stage_5_4_exec.exec = run_anyway


@mutant(
    "5.4",
    since="5.4",
    kills={"exec_into_none[ended]", "exec_into_none[unknown]", "exit_codes_of_exec", "pid_1_in_exec", "words_of_exec"},
)
def arguments_of_exec_joined() -> None:
    """The words of the command of `exec` are joined on blanks, and split again."""
    import stage_5_4_exec

    run = stage_5_4_exec.exec
    stage_5_4_exec.exec = lambda places, words: run(places, [words[0], *" ".join(words[1:]).split()])
