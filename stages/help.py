"""What a chapter's program says about itself."""

from stages import Rung, load, verbs

USAGE = {
    "4.4": "commit IMAGE",
    "5.2": "ps",
    "5.3": "logs [-f] NAME",
    "5.4": "exec [-ti] NAME COMMAND [ARGUMENT...]",
    "5.5": "stop [-t SECONDS] NAME...",
    "5.6": "rm [-f] NAME...",
    "5.7": "commit [-z] [--reproducible] CONTAINER IMAGE",
}


def text(rung: Rung, program: str) -> str:
    """The help of the chapter `rung`, for a program that is called `program`."""
    usages = [load(rung).run_usage() if verb == "run" else USAGE[owner.number] for verb, owner in verbs(rung).items()]
    return "\n".join(
        [
            f"{rung.number}  {rung.idea}",
            "",
            *(f"    {program} {usage}" for usage in usages),
            "",
            f"{program} -v VERB ... also shows each step as a line of shell, on standard error.",
            f"{program} VERB --explain ... prints a shell script that does the same, instead of doing it.",
            "Options end at the first word that is none; all behind it is the command, untouched.",
            "Images and layers are in $ZOCKER_ROOT (/root), records in $ZOCKER_STATE (/var/run/zocker).",
            "Exit codes: the command's own; 125 the runtime refused, 126 not executable, 127 not found.",
        ]
    )
