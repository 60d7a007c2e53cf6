"""Faults at the birth of the process: its namespaces, its working directory, what it inherits, how it ends."""

from tests.harness.mutants.mutant import mutant


@mutant(
    "3.1",
    kills={"descriptors", "mount_table"},
    weakly={
        "environment_leak",
        "exit_codes",
        "five_namespaces",
        "flags_of_the_command",
        "host_name",
        "pid_1",
        "signals",
        "working_directory",
    },
)
def root_left_shared() -> None:
    """`/` is left shared: what the container mounts is seen on the host."""
    from stages.kernel import inside

    inside.PrivateMounts.do = lambda self, start: None


@mutant(
    "3.1", kills={"descriptors", "environment_leak", "exit_codes", "five_namespaces", "mount_table", "pid_1", "signals"}
)
def pid_namespace_skipped() -> None:
    """The process gets no pid namespace of its own."""
    from stages.kernel import spec

    spec.ALL_NAMESPACES.remove("pid")


@mutant("3.1", kills={"five_namespaces", "host_name"})
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


@mutant(
    "3.1",
    kills={"descriptors", "mount_table"},
    weakly={
        "environment_leak",
        "exit_codes",
        "five_namespaces",
        "flags_of_the_command",
        "host_name",
        "pid_1",
        "signals",
        "working_directory",
    },
)
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


@mutant("3.1", kills={"descriptors"})
@mutant("5.4", since="5.4", kills={"descriptors_in_exec"}, name="descriptor-inherited-by-exec")
def descriptor_inherited() -> None:
    """What the caller had open is open in the container."""
    import os

    os.closerange = lambda low, high: None


@mutant("3.1", kills={"environment_leak"})
@mutant("5.4", since="5.4", kills={"environment_leak_in_exec"}, name="environment-of-the-host-in-exec")
def environment_of_the_host() -> None:
    """The command gets the caller's whole environment."""
    import os

    from stages.kernel import inside

    execute = inside.Execute.do

    def do(self: inside.Execute, start: inside.Start) -> None:
        self.environment = [f"{key}={value}" for key, value in os.environ.items()] + self.environment
        execute(self, start)

    inside.Execute.do = do


@mutant("3.1", kills={"exit_codes"})
@mutant("5.4", since="5.4", kills={"exit_codes_of_exec"}, name="exit-code-of-exec-lost")
def exit_code_lost() -> None:
    """The program's exit code is 0, whatever the command's is."""
    from stages.kernel import foreground

    wait = foreground.wait

    def forgetful(*how: object) -> int:
        wait(*how)
        return 0

    foreground.wait = forgetful


@mutant("3.1", kills={"host_name"})
def host_name_kept() -> None:
    """The container keeps the host's name in its new uts namespace."""
    from stages.kernel import inside

    inside.Hostname.do = lambda self, start: None


@mutant("3.1", kills={"flags_of_the_command"})
@mutant("5.4", since="5.4", kills={"flags_in_exec", "words_of_exec"}, name="flags-in-exec-taken")
def flags_of_the_command_taken() -> None:
    """An option -ti is looked for behind the command, too."""
    from stages import options

    split = options.split

    def split_all(verb: str, words: list[str], *how: object, **more: object) -> object:
        return split(verb, sorted(words, key=lambda word: word != "-ti"), *how, **more)

    options.split = split_all
