"""What is checked inside the virtual machine: `tox -e vm` starts this there, as root.

    python3 -m harness.guest [--limits] [--junit FILE] [PYTEST OPTION …]

Of our own chapters each is asked for what it brings, and the last one for all. In software emulation a check takes seconds;
that every chapter also has all of the ones before it is checked where that is cheap, by `tox -e behaviours`.
Then the scripts that `--explain` prints, and the tutorial's two `commit` chapters step by step; not when it is a `--subject` that
is asked for. The exit code is pytest's.

With --limits only what depends on the version of control groups, with the known defects of others there: for a machine with v1.
"""

import os
import sys

from harness.cgroup_version import cgroup_version

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BEHAVIOURS = "tests/behaviours"
OUR_OWN = ("tests/explain/test_equality.py", "tests/seeds")
# Limits, and when they are there; what freezes a container; and what counts and kills its processes.
WITH_GROUPS = ("3_2_cgroup", "3_3_pipe", "4_4_package", "5_5_stop", "defects_limits")
BAD_INPUT = 125


def main(words: list[str]) -> int:
    """Become pytest; returns 125 when this machine is the wrong one."""
    version = cgroup_version()
    if "--limits" in words and version != "v1":
        print("harness.guest: --limits is for a machine with control groups v1, and here they are v2", file=sys.stderr)
        return BAD_INPUT
    print(f"Linux {os.uname().release}, Python {sys.version.split()[0]}, control groups {version}", flush=True)
    os.chdir(CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pytest", *arguments(words)])


def arguments(words: list[str]) -> list[str]:
    """pytest's own, for these words of ours."""
    rest = ["--junitxml" + word.removeprefix("--junit") if word.split("=")[0] == "--junit" else word for word in words]
    if "--limits" in words:
        rest.remove("--limits")
        what = ["--defects", *(f"{BEHAVIOURS}/test_{name}.py" for name in WITH_GROUPS)]
    elif any(word.split("=")[0] == "--subject" for word in words):
        what = [BEHAVIOURS]
    else:
        what = [BEHAVIOURS, *OUR_OWN]
    how = ["--only-new", "-v", "-p", "no:cacheprovider", "-n", str(os.cpu_count())]
    return [*how, *what, *rest]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
