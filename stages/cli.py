"""The `stages` command: look at the ladder, run a chapter, watch one being performed, give the machine back."""

import os
import sys

from stages import LADDER, find, load, verbs
from stages.kernel.errors import Failure
from stages.kernel.foreground import say
from stages.kernel.meanings import taught
from stages.launch import open_standard_streams

HELP = """\
stages: containers from first principles, chapter by chapter

    stages list                    the ladder, one line a chapter
    stages show X                  the chapter's idea, its new steps, its verbs
    stages show X --flat           the chapter's whole program: every step, where it comes from, and why
    stages diff X Y                what chapter Y adds to chapter X: options, verbs, steps and lines of shell
    stages run X -- VERB ...       a chapter's program; `stages run X` alone tells its verbs
    stages run X -- VERB --explain ...   a shell script that does the same, instead of doing it
    stages tour X                  watch the chapter happen, with what the kernel shows and what the text promises
    stages tour X --pause          the same, and wait for a key between the steps
    stages check X                 which documented behaviours chapter X has, from the kernel's own tables
    stages check X --subject ./mine   the same of your own program, which speaks the tutorial's command line
    stages check X --defects       and whether it is free of 23 known defects of other implementations
    stages check X --vm            the same in a virtual machine, where nothing of yours can be harmed
    stages vm up                   the virtual machine as your playground; `stages vm status` says what there is
    stages vm shell X              a root shell in it, beside the chapter's page
    stages vm reset                it is as new again, in seconds; `stages vm destroy` removes it
    stages reset                   end and undo all containers below ZOCKER_ROOT, also those that a kill left half-made

X is 5.7, commit or stage_commit. The last chapter is also a command of its own: zocker."""


def main(words: list[str]) -> int:
    """Do what `words` say and return the exit code."""
    open_standard_streams()
    try:
        code = _do(words)
        sys.stdout.flush()
        return code
    except Failure as failure:
        say(f"stages: {taught(str(failure))}")
        return failure.exit_code
    except BrokenPipeError:
        sys.stdout = None
        return 141
    except OSError as error:
        from stages.kernel.machine import explain

        say(f"stages: {taught(explain(error))}")
        return 125


def _do(words: list[str]) -> int:
    match words:
        case [] | ["help" | "-h" | "--help"] | [_, "-h" | "--help"]:
            print(HELP)
        case ["list"]:
            for rung in LADDER:
                print(f"{rung.number}  {rung.package:18}  {rung.idea}")
        case ["show", name]:
            _show(name)
        case ["show", name, "--flat"] | ["show", "--flat", name]:
            _show_flat(name)
        case ["diff", old, new]:
            from stages.diff import lines

            print("\n".join(lines(find(old), find(new))))
        case ["tour", name] | ["tour", name, "--pause"] | ["tour", "--pause", name]:
            from stages.tour import tour

            return tour(find(name), pause="--pause" in words)
        case ["check", *rest]:
            return _check(rest)
        case ["vm", *rest]:
            _vm(rest)
        case ["reset"]:
            return _reset()
        case ["diff", *_]:
            raise Failure("diff takes two chapters, such as `stages diff 4.1 4.2`: see `stages list`")
        case ["run" | "show" | "tour", *_]:
            raise Failure(f"{words[0]} takes one chapter, such as `stages {words[0]} 5.7`: see `stages list`")
        case _:
            raise Failure(f"there is no command {' '.join(words)!r}: see `stages --help`")
    return 0


def _show(name: str) -> None:
    from stages.show import new_steps

    rung = find(name)
    print(f"{rung.number}  {rung.idea}  ({rung.package}/)\n")
    steps = new_steps(rung)
    print("New or changed steps:" if steps else "New steps: none; the chapter adds a verb.")
    for step, _ in steps:
        print(f"    {_first_line(step)}")
        _print_wrapped(step.why, "        ")
    print("\nVerbs: " + ", ".join(verb + (" (new)" if owner is rung else "") for verb, owner in verbs(rung).items()))
    if rung.package in [owner.package for owner in verbs(rung).values()]:
        print(f"The verb's code: {rung.package}/__init__.py")
    print(f"Run it: stages run {rung.number} -- {load(rung).run_usage()}")


def _show_flat(name: str) -> None:
    from stages.show import with_origins

    rung = find(name)
    print(f"# A run in chapter {rung.number}, with everything that can be asked for: each step, its chapter, its why.")
    for place, steps in with_origins(rung):
        print(f"\n# {place}")
        for step, origin in steps:
            print(f"\n{_first_line(step)}    # {origin.number}")
            for line in step.shell().splitlines():  # none for what a shell can't say
                print(f"    $ {line}")
            _print_wrapped(step.why, "    # ")


def _first_line(step: object) -> str:
    return f"{type(step).__name__}: {(type(step).__doc__ or '').split(chr(10), 1)[0]}"


def _print_wrapped(text: str, indent: str) -> None:
    import textwrap

    print(textwrap.fill(text, 110, initial_indent=indent, subsequent_indent=indent))


def _check(words: list[str]) -> int:
    try:
        from harness.check import main as check
    except ModuleNotFoundError:
        raise Failure("check needs the whole project: clone it, and use ./bootstrap stages check") from None
    return check(words)


def _vm(words: list[str]) -> None:
    try:
        from harness.vm_errors import VMError
        from harness.vm_start import become
    except ModuleNotFoundError:
        raise Failure("vm needs the whole project: clone it, and use ./bootstrap stages vm") from None
    try:
        become(words)
    except VMError as error:
        raise Failure(str(error)) from None


def _reset() -> int:
    """End and undo every container below the root; the exit code is 1 when one could not be undone."""
    from stages.kernel import machine, places

    if os.geteuid() != 0:
        raise Failure("reset needs root: put `sudo` in front")
    from stages.tour import sweep

    sweep()
    here = places.from_environment(os.environ)
    code = 0
    for name in sorted(os.listdir(here.containers)) if os.path.isdir(here.containers) else []:
        try:
            machine.end(here.home(name))
            machine.undo(here.home(name))
            print(f"undone: {name}")
        except Failure as failure:
            say(f"stages: {name}: {failure}")
            code = 1
    return code
