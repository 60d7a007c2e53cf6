"""`--explain`: what a verb would do, as a POSIX shell script that does the same when plain `sh` runs it.

Nothing here is imported by a verb that is really done.
"""

import os

from stages import Rung, verbs
from stages.explain.script import Script
from stages.kernel.places import Places
from stages.kernel.step import quoted


def explain(rung: Rung, places: Places, verb: str, words: list[str], program: str) -> int:
    """Print the script of `program VERB WORDS` in the chapter `rung`.  Raises Failure where the verb itself would."""
    script = Script()
    command = f"{program} {verb} {quoted(*words)}".rstrip()
    if verb == "run":
        from stages.explain.run import write
    else:
        package = verbs(rung)[verb].package
        write = __import__(f"{package}.explain", fromlist=["write"]).write
    write(script, rung, command, places, words)
    text = os.fsencode(script.text())
    while text:
        text = text[os.write(1, text) :]
    return 0
