"""Where the launchers in bin/ begin: `start.py zocker ARGUMENT...` or `start.py stages ARGUMENT...`."""

import os
import sys


def start(words: list[str]) -> int:
    """Do what the program `words[0]` does with the other words, and return the exit code."""
    program, *rest = words
    if program == "stages" and (rest[:1] != ["run"] or len(rest) == 1):
        from stages.cli import main as stages

        return stages(rest)
    from stages.launch import main

    if program != "stages":
        return main("stage_5_8_env", rest, program)
    stage, words = rest[1] if len(rest) > 1 else "", rest[2:]
    return main(stage, words[1:] if words[:1] == ["--"] else words, f"stages run {stage} --")


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever has an older one is to be told, not shown a traceback)
        sys.exit("stages and zocker need Python 3.11 or newer, and " + sys.executable + " is older")
    sys.path.insert(0, __file__.rpartition("/stages/")[0] or ".")
    code = start(sys.argv[1:])
    os._exit(code)  # taking the interpreter apart would take longer than many a container runs
