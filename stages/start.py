"""Where the launchers in bin/ begin: `start.py zocker ARGUMENT...` or `start.py stages ARGUMENT...`."""

import gc
import marshal
import os
import sys

HOT = ("run", "exec", "ps", "stop", "rm", "logs", "commit")  # the verbs whose modules are kept together


def start(words: list[str], checkout: str = "") -> int:
    """Do what the program `words[0]` does with the other words, and return the exit code.

    `checkout` is the directory that holds the packages; with it, a verb's modules are loaded all at once.
    """
    program, *rest = words
    if program == "stages" and (rest[:1] != ["run"] or len(rest) == 1):
        from stages.cli import main as stages

        return stages(rest)
    stage = "stage_5_8_env"
    if program == "stages":
        stage, rest = rest[1], rest[2:]
        rest = rest[1:] if rest[:1] == ["--"] else rest
        program = f"stages run {stage} --"
    if checkout and rest and rest[0] in HOT and stage.replace(".", "").replace("_", "").isalnum():
        # A verb ends before garbage piles up, and to look for it would take longer than many a step.
        gc.disable()
        file = f"{checkout}/stages/__pycache__/{stage}-{rest[0]}.{sys.implementation.cache_tag}.together"
        if not load_together(checkout, file):
            from stages import together

            together.write(checkout, file, stage, rest[0])
    from stages.launch import main

    return main(stage, rest, program)


def load_together(checkout: str, file: str) -> bool:
    """Load all modules that are in `file`, which `stages.together` wrote; False when it is not there or out of date.

    Python would look for each of them, and open, check and read its own file: that takes twice as long.
    """
    try:
        with open(file, "rb", 0) as opened:
            stamps, modules = marshal.loads(opened.read())
        for path, stamp in stamps:
            status = os.stat(f"{checkout}/{path}")
            if stamp != (status.st_mtime_ns, status.st_size):
                return False
    except (OSError, EOFError, ValueError, TypeError):
        return False
    for name, path, code in modules:
        module = sys.modules[name] = type(sys)(name)
        module.__file__ = f"{checkout}/{path}"
        package, _, last = name.rpartition(".")
        if path.endswith("/__init__.py"):
            module.__package__, module.__path__ = name, [module.__file__[: -len("/__init__.py")]]
        else:
            module.__package__ = package
        exec(code, module.__dict__)
        if package:
            setattr(sys.modules[package], last, module)
    return True


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever has an older one is to be told, not shown a traceback)
        sys.exit("stages and zocker need Python 3.11 or newer, and " + sys.executable + " is older")
    checkout = __file__.rpartition("/stages/")[0] or "."
    sys.path.append(checkout)  # last: Python's own, which come first, have none of our names
    code = start(sys.argv[1:], checkout)
    os._exit(code)  # taking the interpreter apart would take longer than many a container runs
