"""The script of `stop`."""

from stage_5_5_stop import wanted
from stages import Rung
from stages.explain.script import RUNS, Script
from stages.kernel import jsontext, records
from stages.kernel.places import Places
from stages.kernel.step import quoted

CANNOT = [
    "It waits for a commit that is at work, and sends its signals through a pidfd: here the number could become another's in between."
]


def write(script: Script, rung: Rung, command: str, places: Places, words: list[str]) -> None:
    """Write down how containers are stopped.  Raises Failure."""
    found, seconds = wanted(places, words)
    script.head(rung, command, ["grep"], CANNOT)
    script.said("A number alone can be another process's by now: with its time of start it can't.", RUNS)
    for record in found:
        if len(found) > 1:
            script.section(record.name)
        end(script, record.pid, record.since, record.groups, seconds)
        fields = {**record.fields, "status": records.STOPPED, "pid": ""}
        script.said(
            "The record is replaced in one moment: nobody reads half of it.",
            f"(umask 077; printf '%s\\n' {quoted(jsontext.dumps(fields))} >{quoted(record.path + '.new')})",
            f"mv {quoted(record.path + '.new', record.path)}",
        )


def end(script: Script, pid: int, since: int, groups: list[str], seconds: int) -> None:
    """Lines that end this process: SIGTERM, some seconds, SIGKILL.  They use the shell function `runs`."""
    alive = f"runs {pid} {since}"
    switches = [
        (f"{group}/{name}", word)
        for group in groups
        for name, word in (("cgroup.freeze", "0"), ("freezer.state", "THAWED"))
    ]
    script.said(
        "A process that is frozen does not even notice SIGKILL: first let it go on.",
        *(f"[ ! -e {quoted(file)} ] || echo {word} >{quoted(file)}" for file, word in switches),
    )
    if seconds:
        script.said(
            "The kernel drops a SIGTERM that a PID 1 neither catches nor blocks (bit 14 of SigCgt or SigBlk): then there is no use in"
            " waiting.",
            f"if {alive} && grep -Eq '^Sig(Blk|Cgt):.*[4-7c-f].{{3}}$' /proc/{pid}/task/*/status; then",
            f"    kill -TERM {pid}",
            f"    left={100 * seconds} # hundredths of a second",
            f'    while {alive} && [ "$left" -gt 0 ]; do sleep 0.01; left=$((left - 1)); done',
            "fi",
        )
    script.said(
        "Nothing can ignore SIGKILL from outside its namespace, and with a PID 1 all of its namespace ends.",
        f"if {alive}; then kill -KILL {pid}; fi",
        f"while {alive}; do sleep 0.01; done",
    )
