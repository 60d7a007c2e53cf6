"""The script of `ps`."""

from stages import Rung
from stages.explain.script import RUNS, Script
from stages.kernel.places import Places
from stages.kernel.step import quoted
from stages.options import nothing

FIELD = """\
field() { # field NAME: the text of this field of config.json
    sed -n 's/.*"'"$1"'": "\\([^"]*\\)".*/\\1/p' "$config"
}"""
ROWS = """\
    status=$(field status)
    pid=$(field pid)
    start=$(sed -n 's/.*"start_time": \\([0-9]*\\).*/\\1/p' "$config")
    boot=$(field boot_id)
    if [ "$status" = running ]; then
        { [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] && runs "$pid" "$start"; } || status=exited
    fi
    [ "$status" = running ] || pid=
    command=$(sed 's/.*"command": \\["\\(.*\\)"\\], "create_time.*/\\1/; s/", "/ /g; s/\\\\\\(.\\)/\\1/g' "$config")"""
TABLE = """\
    for (row = 1; row <= NR; row++) {
        line = ""
        for (column = 1; column <= 6; column++) line = line sprintf("%-" width[column] "s", cell[row, column])
        sub(/ +$/, "", line)
        print line
    }"""


def write(script: Script, rung: Rung, command: str, places: Places, words: list[str]) -> None:
    """Write down how the containers are listed.  Raises Failure."""
    nothing("ps", words)
    script.head(
        rung,
        command,
        ["sed, awk"],
        [
            "It finds a container whose record was lost with a reboot by its journal.",
            "It shows a command whatever letters are in it. Here it is shown as config.json has it.",
        ],
    )
    script.said("A number alone can be another process's by now: with its time of start it can't.", RUNS)
    script.said("A record is one line of JSON.", FIELD)
    script.said(
        "A record says running until somebody writes otherwise: it is believed only if the process is there.",
        "tab=$(printf '\\t')",
        "{",
        f"for config in {quoted(places.state)}/*/config.json; do",
        '    [ -e "$config" ] || continue',
        *ROWS.split("\n"),
        '    printf "%s\\t" "$(field id)" "$(field name)" "$pid" "$status" "$command"',
        "    field create_time",
        'done | sort -t "$tab" -k 6,6 -k 2,2',
        "} | {",
        "printf 'ID\\tNAME\\tPID\\tSTATUS\\tCOMMAND\\tCREATED\\n'",
        "cat",
        "} | awk -F '\\t' '",
        "{",
        "    for (column = 1; column <= 6; column++) {",
        "        cell[NR, column] = $column",
        "        if (NR == 1) width[column] = 12",
        "        if (length($column) + 3 > width[column]) width[column] = length($column) + 3",
        "    }",
        "}",
        "END {",
        *TABLE.split("\n"),
        "}'",
    )
