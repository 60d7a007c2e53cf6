"""Faults of `exec`, and of the environment that it shares with `run`."""

from tests.harness.mutants.mutant import mutant


@mutant("5.4", since="5.4", kills={"namespaces_joined"})
def exec_without_the_fork() -> None:
    """After setns of the pid namespace there is no fork, so the command itself is not in it."""
    import os

    from stages.kernel import machine

    fork = machine._fork_into_pid_namespace

    def first_fork_then_join(spec: object) -> int:
        return os.fork() if spec.joins else fork(spec)

    machine._fork_into_pid_namespace = first_fork_then_join


@mutant("5.4", since="5.4", kills={"namespaces_joined", "order", "pid_1_in_exec"})
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
