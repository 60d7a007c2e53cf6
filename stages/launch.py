"""The light launcher: finds the verb's own module and imports nothing else."""

import os
import sys

from stages import Rung, find, load, verbs
from stages.kernel.errors import Failure
from stages.options import HelpWanted


def main(stage: str, words: "list[str] | None" = None, program: str = "") -> int:
    """Do `words` (else the command line's) as the chapter `stage` does it, and return the exit code.

    `program` is how the program calls itself in what it says.
    """
    open_standard_streams()
    words = sys.argv[1:] if words is None else words
    program = program or f"python -m {stage}"
    name = program.removesuffix(" --").removeprefix("python -m ")
    try:
        code = _do(find(stage), words, program)
        sys.stdout.flush()
        return code
    except Failure as failure:
        _say_why(name, str(failure))
        return failure.exit_code
    except BrokenPipeError:
        sys.stdout = None  # whoever read our output has enough
        return 141
    except OSError as error:
        from stages.kernel.machine import explain

        _say_why(name, explain(error))
        return 125
    except KeyboardInterrupt:
        return 130


def _do(rung: Rung, words: list[str], program: str) -> int:
    os.umask(0o022)  # what we make for the container must not depend on how the caller's shell is set up
    known = verbs(rung)
    if words[:1] == ["-v"]:
        from stages.kernel import log

        log.enabled = True
        words = words[1:]
    verb, *rest = words or ["--help"]
    explaining = rest[:1] in (["--explain"], ["-explain"])
    if explaining:
        del rest[0]
    if verb in ("--help", "-h", "help"):
        return _help(rung, program)
    if verb in ("--explain", "-explain"):
        raise Failure("--explain stands right behind the verb, such as `run --explain ...`")
    if verb not in known:
        hint = f"it knows {', '.join(known)}"
        raise Failure(f"there is no verb {verb!r} in chapter {rung.number}: {hint}")
    if os.geteuid() != 0 and not {"-h", "--help"} & set(rest[:1]):
        raise Failure(f"{verb} needs root, since it changes mounts and namespaces: put `sudo` in front")
    from stages.kernel import places

    here = places.from_environment(os.environ)
    try:
        if explaining:
            from stages.explain import explain

            return explain(rung, here, verb, rest, program)
        if verb == "run":
            from stages.run import run

            return run(load(rung), here, rest)
        module = __import__(known[verb].package)
        return int(getattr(module, verb)(here, rest))
    except HelpWanted:
        return _help(rung, program)


def open_standard_streams() -> None:
    """Open what the caller has closed (`<&-`): else the first file that we open would become the standard input."""
    while (fd := os.open("/dev/null", os.O_RDWR)) < 3:
        os.set_inheritable(fd, True)
    os.close(fd)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (it stays open)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _help(rung: Rung, program: str) -> int:
    from stages import help

    print(help.text(rung, program))
    return 0


def _say_why(name: str, sentence: str) -> None:
    from stages.kernel.foreground import say
    from stages.kernel.meanings import taught

    say(f"{name}: {taught(sentence)}")
