"""Does a list of steps, and undoes them from the journal."""

import os

from stages.kernel import birth, inside, journal, life, locks, log, mounts, signals, syscalls
from stages.kernel.errors import Failure
from stages.kernel.spec import Program, Spec
from stages.kernel.step import Start, Step

CLOSED = b""  # what a pipe gives when all its writers are gone
ARRIVED = b"\0"  # what the container's process reports when only execve is left; if that works, nothing follows


def perform(todo: list[Step], diary: journal.Journal | None, start: Start) -> None:
    """Do the steps in order, each written to the journal before it is done.  Raises what the step raises."""
    for step in todo:
        if diary:
            diary.intend(step)
        if log.enabled:
            log.note(step.shell())
        step.do(start)


def start(spec: Spec, program: Program, diary: journal.Journal | None) -> int:
    """Start the container's process and return its pid; its `outside` steps are done already.

    Requests to end are held back when it returns: whoever called says with `let_in` from when on, and to whom, they go.

    The process is forked into a new pid namespace, does the `inside` steps and becomes the command.  Raises Failure with the
    fitting exit code when any step or the execution failed; no process is left then.
    """
    beginning = Start(list(spec.words))
    go_read, go_write = os.pipe()
    report_read, report_write = os.pipe()
    kinds = [type(step) for step in program.inside]
    waits = kinds.index(inside.ReceiveCommand) if inside.ReceiveCommand in kinds else len(kinds)
    if log.enabled:
        for step in program.inside[:waits]:
            log.note(step.shell())
    # Where nothing makes the process wait, in the chapters before 3.3, it is moved there while it runs, as they tell.
    group = next((step.birthplace for step in program.started if step.birthplace), "") if waits < len(kinds) else ""
    signals.hold_back()  # the child must never run what the runtime would do about a signal
    pid, beginning.born_in = _fork_into_pid_namespace(spec, group)
    if pid == 0:
        os.close(go_write)
        os.close(report_read)
        beginning.go = go_read
        _become_the_command(spec, program, diary, beginning, report_write)
    os.close(go_read)
    os.close(report_write)
    beginning.pid = pid
    try:
        signals.let_in()
        if diary:
            diary.started(pid, life.start_time(pid))
        perform(program.started, diary, beginning)
        if log.enabled:
            for step in program.inside[waits:]:
                log.note(step.shell())
        signals.hold_back()  # from here on the command may run: a request to end is for it
        _send(go_write, inside.pack_words(spec.words))
        report = _read_to_end(report_read)
    except BaseException:
        _end(pid)
        raise
    finally:
        os.close(go_write)
        os.close(report_read)
    if report == ARRIVED:
        return pid
    signals.let_in()
    _, status = os.waitpid(pid, 0)
    report = report.removeprefix(ARRIVED)
    if not report:
        raise Failure(
            f"the container's process was killed by signal {os.WTERMSIG(status)} before it became the command"
        )
    raise Failure(report[1:].decode(errors="surrogateescape"), report[0])


def _fork_into_pid_namespace(spec: Spec, group: str) -> tuple[int, str]:
    """`birth.fork`; the child is PID 1 of a new pid namespace, or a member of the one that is joined.

    unshare and setns move only the children to come, so the runtime itself stays where it is and needs no second fork in
    between.  It then turns back, so that its next child is an ordinary one.
    https://man7.org/linux/man-pages/man2/unshare.2.html
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if spec.joins:
            theirs = inside.open_namespaces(spec.joins, spec.joins_since, ["pid"])[0]
            syscalls.setns(theirs, syscalls.CLONE_NEWPID)
            os.close(theirs)
        elif "pid" in spec.namespaces:
            syscalls.unshare(syscalls.CLONE_NEWPID)
        pid, born_in = birth.fork(group)
        if pid:
            syscalls.setns(own, syscalls.CLONE_NEWPID)
        return pid, born_in
    finally:
        os.close(own)


def _become_the_command(
    spec: Spec, program: Program, diary: journal.Journal | None, beginning: Start, report: int
) -> None:
    """The child's whole life until execve.  It never returns: whatever fails ends it, so nothing can run on the host."""
    code, sentence = 125, ""
    try:
        if not spec.detached:
            syscalls.die_with_parent(signals.SIGKILL)
        for step in program.inside:
            if isinstance(step, inside.Execute):
                _tidy_up(report)
                report = 3
                diary = None
                os.write(report, ARRIVED)
            if diary:
                diary.intend(step)
            step.do(beginning)
    except Failure as failure:
        code, sentence = failure.exit_code, str(failure)
    except OSError as error:
        sentence = explain(error)
    except BaseException as error:
        sentence = f"{type(error).__name__}: {error}"
    finally:
        try:
            os.write(
                report,
                bytes([code])
                + (sentence or "the container's process ended before its command").encode(errors="replace"),
            )
        finally:
            os._exit(125)


def _tidy_up(report: int) -> None:
    """Leave nothing of the runtime to the command: signals, umask and descriptors are as a new process expects them."""
    signals.as_a_new_process_expects_them()
    os.umask(0o022)
    if report != 3:
        os.dup2(report, 3, inheritable=False)
    os.closerange(4, 1 << 30)


def _send(fd: int, message: bytes) -> None:
    try:
        while message:
            message = message[os.write(fd, message) :]
    except BrokenPipeError:
        pass  # the child failed, or does not wait for its command: the report pipe tells


def _read_to_end(fd: int) -> bytes:
    pieces = b""
    while (piece := os.read(fd, 65536)) != CLOSED:
        pieces += piece
    return pieces


def _end(pid: int) -> None:
    """Kill our own child and reap it."""
    try:
        os.kill(pid, signals.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def is_alive(home: str) -> bool:
    """True while the process of the container whose journal is in `home` runs."""
    return journal.Done(home).is_alive()


def end(home: str, patience: float = 0) -> None:
    """End the container whose journal is in `home`: SIGTERM, `patience` seconds, SIGKILL.  Harmless when it has ended."""
    from stages.kernel import freezer

    lock = locks.take_directory(home)  # a commit that is at work is waited for: it has paused the container
    if lock is None:
        return
    try:
        done = journal.Done(home)
        pidfd = life.hold(done.pid, done.start_time, done.boot)
        if pidfd is not None:
            # Thawed first: a process that v1 has frozen does not even notice SIGKILL.
            freezer.thaw(journal.texts(done.container, "groups"))
            log.note(f"kill -TERM {done.pid}" if patience else f"kill -KILL {done.pid}")
            life.end(pidfd, done.pid, patience)
            os.close(pidfd)
    finally:
        locks.release(lock)


def undo(home: str, wait: bool = True) -> None:
    """Undo from the journal in `home` all that a container has done, last first, and give its name back.

    It may be repeated after a failure: what is undone already stays so.  Raises Failure and keeps the journal when a step
    can't be undone; nothing behind that step is touched then.  Without `wait` a container that somebody else is just
    starting or removing is passed over.
    """
    lock = locks.take_directory(home, wait)
    if lock is None:
        return
    try:
        done = journal.Done(home)
        if done.is_alive():
            raise Failure(f"{os.path.basename(home)} is running: stop it first")
        check_mount_namespace(done)
        users = [str(fields["users"]) for name, fields, _ in done.steps if name == "Union" and fields["users"]]
        shared = locks.take(shared_lock(users[0])) if users else None
        try:
            _undo_steps(home, done)
        finally:
            if shared is not None:
                locks.release(shared)
        if os.path.exists(f"{home}/journal"):
            os.unlink(f"{home}/journal")
        os.rmdir(home)
    finally:
        locks.release(lock)
    hidden = os.path.dirname(os.path.dirname(home))
    if os.path.isdir(f"{hidden}/old"):  # an image was replaced while containers used it; this may have been the last
        from stages.kernel import images

        images.remove_unused(hidden)


def _undo_steps(home: str, done: journal.Done) -> None:
    for step, before in reversed(undoable(home, done)):
        if log.enabled:
            log.note(step.undo_shell(before))
        try:
            step.undo(before)
        except OSError as error:
            raise Failure(f"{explain(error)}: not all of {os.path.basename(home)} could be undone; try again") from None


def undoable(home: str, done: journal.Done) -> list[tuple[Step, dict[str, object]]]:
    """The journal's steps that are undone on the host's side, in the order in which they were done, with what was there before.

    Raises Failure when it has a step that nobody here knows.
    """
    from stages.kernel import steps

    found = []
    for name, fields, before in done.steps:
        kind = getattr(steps, name, None)
        if isinstance(kind, type) and issubclass(kind, Step):
            found.append((kind(**fields), before))
        elif not hasattr(inside, name):
            raise Failure(f"{home}/journal has a step {name!r} that this program doesn't know: nothing was undone")
    return found


def shared_lock(containers: str) -> str:
    """The lock of the chapters in which all containers share one mount, for the directory of their journals."""
    return f"{os.path.dirname(containers)}/shared.lock"


def check_mount_namespace(done: journal.Done) -> None:
    """Mounts can only be undone where they were made; after a reboot, or when that namespace has ended, they are gone.

    Raises Failure when they were made in another mount namespace that is still there.
    """
    if done.boot != life.boot_id() or done.mount_namespace == mounts.namespace():
        return
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/mnt") == done.mount_namespace:
                raise Failure(
                    f"it was started in another mount namespace ({done.mount_namespace}, that of process {entry}):"
                    f" do this there, by `nsenter -t {entry} -m`"
                )
        except OSError:
            continue


def explain(error: OSError) -> str:
    """One sentence for a failed system call: the call as it was made, or the file that it was about."""
    if isinstance(error, syscalls.SystemCallFailed):
        return str(error)
    where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
