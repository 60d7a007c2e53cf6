"""Runs a container from its spec and its steps, in the foreground or detached, and undoes it."""

import os

from stages.kernel import foreground, journal, locks, log, machine, signals
from stages.kernel.errors import Failure, Interrupted
from stages.kernel.places import Places
from stages.kernel.spec import Program, Spec
from stages.kernel.step import Start


def run(spec: Spec, program: Program) -> int:
    """Run the container and return the exit code for the caller: the command's own, or 0 for a detached one.

    Raises Failure when it could not be started; everything is undone then.
    """
    signals.raise_when_asked_to_end()
    home = spec.places.home(spec.name)
    os.makedirs(spec.places.containers, 0o700, exist_ok=True)
    if not spec.created:
        _sweep(spec.places)
    settings = foreground.settings_of_terminal(spec.terminal)
    signals.hold_back()  # between taking the name and being ready to give it back
    lock = _claim(spec, home)
    shared = diary = None
    try:
        signals.let_in()
        diary = journal.Journal(home)
        diary.begin(header(spec))
        if spec.shared:
            shared = locks.take(machine.shared_lock(spec.places.containers))
        machine.perform(program.outside, diary, Start(spec.words))
        for source, target in spec.volumes:
            log.note(f'["{source}" "{target}"]')
        log.note(f"command all is {' '.join(spec.words)}")
        log.note(f"[zocker] container name is {spec.name}")
        pid = machine.start(spec, program, diary)
    except BaseException as error:
        try:
            signals.hold_off()
        finally:  # a request that comes just now is raised by that
            _let_go(diary, shared, lock)
            _undo_after(error, home)
        raise
    _let_go(diary, shared, lock)
    if spec.detached:
        signals.hold_off()
        return 0
    ended = False
    try:
        code = foreground.wait(pid, settings)
        ended = True
        return code
    finally:
        try:
            signals.hold_off()
        finally:
            if not ended:
                machine.end(home)
            machine.undo(home)


def _let_go(diary: journal.Journal | None, shared: int | None, lock: int) -> None:
    if diary:
        diary.close()
    if shared is not None:
        locks.release(shared)
    locks.release(lock)


def _claim(spec: Spec, home: str) -> int:
    """Make the name ours, and hold its lock until the container runs.  mkdir(2) succeeds for exactly one of many."""
    try:
        os.mkdir(home, 0o700)
    except FileExistsError:
        raise name_in_use(spec.name) from None
    lock = locks.take_directory(home)
    if lock is None:
        raise Failure(f"the name {spec.name} was just taken and given back by somebody else: try again")
    return lock


def name_in_use(name: str) -> Failure:
    """Why a run is refused whose name another container has.  Which verb removes that one, not all chapters know."""
    return Failure(f"the name {name} is in use: choose another, or remove that container first")


def header(spec: Spec) -> dict[str, object]:
    """What the journal says of the container, enough for `ps` and `rm` when the record is lost."""
    return {
        "name": spec.name,
        "id": spec.container_id,
        "command": spec.words,
        "created": spec.created,
        "mount_point": spec.mount_point,
        "environment": spec.environment,
        "groups": spec.groups,
    }


def _undo_after(error: BaseException, home: str) -> None:
    try:
        machine.end(home)  # it may have been asked to end in the very moment in which it had started
        machine.undo(home)
    except Failure as failure:
        from stages.kernel.meanings import taught

        raise Failure(f"{taught(_sentence(error))}; and then: {failure}") from None


def _sentence(error: BaseException) -> str:
    return machine.explain(error) if isinstance(error, OSError) else str(error) or type(error).__name__


def _sweep(places: Places) -> None:
    """Undo the containers that have ended and that no `ps` or `rm` knows, in the chapters before there are records."""
    for name in os.listdir(places.containers):
        home = places.home(name)
        try:
            done = journal.Done(home)
            if done.container and not done.container.get("created") and not done.is_alive():
                machine.undo(home, wait=False)
        except Interrupted:
            raise
        except Failure as failure:
            foreground.say(f"left from an earlier run: {failure}")
