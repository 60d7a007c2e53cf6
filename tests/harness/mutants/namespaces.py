"""Faults at the birth of the process: its namespaces, its working directory, what it inherits, how it ends."""

from tests.harness.mutants.mutant import mutant


@mutant("3.1", kills={"mount_table"}, weakly={"five_namespaces", "pid_1", "signals", "working_directory"})
def root_left_shared() -> None:
    """`/` is left shared: what the container mounts is seen on the host."""
    from stages.kernel import inside

    inside.PrivateMounts.do = lambda self, start: None


@mutant("3.1", kills={"five_namespaces", "mount_table", "pid_1", "signals"})
def pid_namespace_skipped() -> None:
    """The process gets no pid namespace of its own."""
    from stages.kernel import spec

    spec.ALL_NAMESPACES.remove("pid")


@mutant("3.1", kills={"five_namespaces"})
def uts_namespace_skipped() -> None:
    """The process gets no uts namespace of its own, and so no host name either: it would be the machine's."""
    from stages.kernel import inside, spec

    spec.ALL_NAMESPACES.remove("uts")
    inside.Hostname.do = lambda self, start: None


@mutant("3.1", kills={"five_namespaces"})
def ipc_namespace_skipped() -> None:
    """The process gets no ipc namespace of its own."""
    from stages.kernel import spec

    spec.ALL_NAMESPACES.remove("ipc")


@mutant("3.1", kills={"five_namespaces"})
def net_namespace_skipped() -> None:
    """The process gets no net namespace of its own."""
    from stages.kernel import spec

    spec.ALL_NAMESPACES.remove("net")


@mutant("3.1", kills={"mount_table"}, weakly={"five_namespaces", "pid_1", "signals", "working_directory"})
def mnt_namespace_skipped() -> None:
    """The process gets no mnt namespace of its own: it mounts on the host."""
    from stages.kernel import spec

    spec.ALL_NAMESPACES.remove("mnt")


@mutant("3.1", kills={"working_directory"})
def working_directory_lost() -> None:
    """The command starts in /, wherever the caller is."""
    from stages.kernel import inside

    execute = inside.Execute.do

    def do(self: inside.Execute, start: inside.Start) -> None:
        self.directory = "/"
        execute(self, start)

    inside.Execute.do = do


@mutant("3.1", kills={"signals"})
def sigpipe_left_ignored() -> None:
    """Python ignores SIGPIPE, and the command inherits that: who writes to nobody goes on for ever."""
    from stages.kernel import signals

    give_back = signals.as_a_new_process_expects_them

    def all_but_one() -> None:
        give_back()
        signals.ignore(13)  # SIGPIPE

    signals.as_a_new_process_expects_them = all_but_one
