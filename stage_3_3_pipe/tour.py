"""Chapter 3.3: the command comes through a pipe, unchanged, and not before the limits hold."""

import os

from stage_3_2_cgroup.tour import MEMORY, group_of, named
from stages.kernel.kernelfiles import read
from stages.tour import Guide, command_line

# What a shell can do by itself, without starting a program: so it is the first that happens in the container.
LOOK = 'while read -r line; do echo "$line"; done </proc/self/cgroup; echo; exec sleep 1000'
ODD = ["two  words", "", "$HOME", "*", '"quoted"', "a\nnew line", "-m", "; exit 3"]


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.step(1, "Three commands look in which group they are, before they do anything else")
    guide.say(f"\nLOOK='{LOOK}'")
    first_looks = [_looks_at_once(guide) for _ in range(3)]
    guide.check("each was in its limited group from its first instruction on", all(first_looks))
    _words(guide)
    _long(guide)


def _looks_at_once(guide: Guide) -> bool:
    runtime = guide.begin("run", "-m", "100m", "sh", "-c", LOOK, shown='run -m 100m sh -c "$LOOK"')
    lines = []
    while runtime.stdout and (line := runtime.stdout.readline().strip()):
        lines.append(line)
    guide.look(
        "the lines of its /proc/self/cgroup with a group of ours", "\n".join(li for li in lines if "zocker" in li)
    )
    group = group_of(guide.first(runtime), "memory")
    limit = read(named(group, MEMORY))
    guide.look(f"cat {named(group, MEMORY)}", limit)
    guide.end(runtime)
    # A line is hierarchy:controllers:path; in v2 no controllers are named.  cgroups(7)
    paths = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
    seen = paths.get("memory", paths.get("", ""))
    return limit == "104857600" and seen.rpartition("/")[2] == os.path.basename(group)


def _words(guide: Guide) -> None:
    guide.step(2, "Words with blanks, quotes, a new line, or nothing in them arrive as they were typed")
    done = guide.do("run", "printf", "[%s]\\n", *ODD)
    guide.check("each word is one argument, unchanged", done.stdout == "".join(f"[{word}]\n" for word in ODD))
    runtime = guide.begin("run", "-ti", "sh", "-c", "read line", "two  words", "", "*")
    first = guide.first(runtime)
    words = command_line(first)
    guide.look(f"tr '\\0' '|' </proc/{first}/cmdline", words.replace("\0", "|"))
    guide.check("the kernel has the same words", words == "sh\0-c\0read line\0two  words\0\0*\0")
    guide.show(f"ls /proc/{first}/fd")
    guide.check(
        "the pipe is closed: three files are open and no more", os.listdir(f"/proc/{first}/fd") == ["0", "1", "2"]
    )
    guide.end(runtime)


def _long(guide: Guide) -> None:
    guide.step(3, "A pipe holds 65536 bytes: a longer command goes through it piece by piece")
    words = ["x" * 120_000, *["word"] * 3000]
    script = "echo $# words, the first of ${#1} letters"
    shown = f"run sh -c '{script}' sh xxxxx... word word word..."
    done = guide.do("run", "sh", "-c", script, "sh", *words, shown=shown)
    all_of_it = "3001 words, the first of 120000 letters\n"
    guide.check("a word of 120000 letters and 3000 more all arrive", done.stdout == all_of_it)
