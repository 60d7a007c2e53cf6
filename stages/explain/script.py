"""The text of a script: lines of shell, each with its why above it."""

from stages import Rung
from stages.kernel.step import Step, quoted

WIDTH = 110
ALWAYS_NEEDED = "coreutils, attr, util-linux (mount, umount, mountpoint, unshare, nsenter, setsid, setpriv, pivot_root)"


class Script:
    """A script, or a part of one, that grows line by line."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)

    def head(self, rung: Rung, command: str, needs: "list[str]", cannot: "list[str]") -> None:
        """What `command` it stands for, which tools it takes beside the usual ones, and what a shell can't do."""
        self.plain("#!/bin/sh")
        self.comment(f"{rung.number}  {command}".replace("\n", " "))
        self.plain("#")
        self.comment(
            "This does what that command does. Each line can also be typed by hand, as root. It was written for this"
            " machine and this moment: names, paths and numbers are filled in."
        )
        self.comment(f"It needs {', '.join([ALWAYS_NEEDED, *needs])}.")
        if cannot:
            self.plain("#")
            self.comment("What the command does and a shell can't:")
        for sentence in cannot:
            self.comment(f"- {sentence}")
        self.plain("set -eu", "umask 022")

    def section(self, title: str) -> None:
        """A new part begins."""
        self.plain("", f"# --- {title}")

    def plain(self, *lines: str) -> None:
        """Lines as they are."""
        self.lines.extend(lines)

    def comment(self, text: str) -> None:
        """A comment, wrapped."""
        import textwrap

        indent = "#   " if text.startswith("- ") else "# "
        wrapped = textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent=indent, break_on_hyphens=False)
        self.plain(*(wrapped or ["#"]))

    def said(self, why: str, *lines: str) -> None:
        """Lines of shell, and above them why they are there."""
        self.plain("")
        self.comment(why)
        self.plain(*lines)

    def step(self, step: Step) -> None:
        """A step as shell, and above it its why."""
        if text := step.shell():
            self.said(step.why, text)

    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines) + "\n"


MARK = """\
mark() { # mark TEXT DIRECTORY...: these directories are made by us: who is the last in them may remove them
    text=$1
    shift
    for made; do [ ! -d "$made" ] || setfattr -n trusted.zocker -v "$text" "$made"; done
}"""
SWEEP = """\
sweep() { # sweep DIRECTORY...: remove what we made, until one is somebody else's or not empty
    for made; do
        [ -d "$made" ] || continue
        [ -n "$(getfattr --absolute-names --only-values -n trusted.zocker "$made" 2>/dev/null)" ] || return 0
        rmdir "$made" 2>/dev/null || return 0
    done
}
ours() { # ours DIRECTORY ID: was this directory made by the container with this id?
    [ "$(getfattr --absolute-names --only-values -n trusted.zocker "$1" 2>/dev/null)" = "$2" ] ||
        grep -Fq "\\"id\\": \\"$2\\"" "$1/config.json" 2>/dev/null
}"""
CLOSE = "exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-"  # a shell can only close one by one, and only those of one digit
RUNS = """\
runs() { # runs PID START: does that very process still run?
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    set -- "$2" ${stat##*) }
    [ "$2" != Z ] && [ "${21}" = "$1" ]
}"""


def others(containers: str) -> list[str]:
    """The shell function that tells whether a container with another journal below `containers` still runs."""
    return [
        RUNS,
        "others() { # does another container still use the mount that all share?",
        f"    for journal in {quoted(containers)}/*/journal; do",
        '        [ "$journal" != "$home/journal" ] || continue',
        """        set -- $(sed -n 's/^{"pid": \\([0-9]*\\), "start_time": \\([0-9]*\\)}$/\\1 \\2/p' "$journal")""",
        '        [ $# = 2 ] && runs "$1" "$2" && return 0',
        "    done",
        "    return 1",
        "}",
    ]


def undone(done: "list[tuple[Step, dict[str, object]]]") -> list[str]:
    """Lines that undo these steps, each with what was there before it, last first."""
    return [line for step, before in reversed(done) if (line := step.undo_shell(before))]
