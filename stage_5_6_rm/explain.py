"""The script of `rm`."""

from stage_5_5_stop.explain import end
from stage_5_6_rm import wanted
from stages import Rung
from stages.explain.script import SWEEP, Script, others, undone
from stages.kernel import journal, machine
from stages.kernel.places import Places
from stages.kernel.step import quoted

CANNOT = [
    "It looks for a volume by device and inode, wherever the container may have moved the directory that it is mounted on.",
    "It removes the copies of images that nobody needs any more.",
]


def write(script: Script, rung: Rung, command: str, places: Places, words: list[str]) -> None:
    """Write down how containers are removed, from their journals.  Raises Failure."""
    names, force = wanted(places, words)
    script.head(rung, command, ["grep, sed"], CANNOT)
    script.plain("", SWEEP, "", *others(places.containers))
    for name in names:
        home = places.home(name)
        done = journal.Done(home)
        script.section(f"{name}: what was done, undone, last first")
        script.plain(f"home={quoted(home)}")
        if force and done.is_alive():
            end(script, done.pid, done.start_time, journal.texts(done.container, "groups"), 0)
        machine.check_mount_namespace(done)
        script.plain(*undone(machine.undoable(home, done)))
        script.plain('rm "$home/journal"', 'rmdir "$home"')
