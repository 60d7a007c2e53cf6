"""Waiting for a container that runs in the foreground."""

import os
import sys
from _collections_abc import Callable  # `collections.abc` would load all of `collections`, 2 ms

from stages.kernel import life, signals

Settings = list[object]  # of a terminal, as termios has them


def settings_of_terminal(passed_through: bool) -> Settings | None:
    """The settings of the caller's terminal, to be given back at the end; None when none is passed through.

    To be asked before there is a command that could change them.
    """
    if not (passed_through and os.isatty(0)):
        return None
    import termios

    return termios.tcgetattr(0)


def wait(pid: int, settings: Settings | None) -> int:
    """Wait for our child `pid` and return its exit code, 128 + n when signal n ended it.  Requests to end are held back.

    With `settings` the caller's terminal belongs to the container meanwhile, and comes back with them.
    """
    if settings is not None:
        return _wait_with_terminal(pid, settings)
    asked = 0

    def pass_on(number: int) -> None:
        nonlocal asked
        asked = number
        _end_or_tell(pid, number)

    code = _exit_code(_until_it_changes(pid, pass_on))
    return 128 + asked if asked and code == 128 + signals.SIGKILL else code


def _wait_with_terminal(pid: int, settings: Settings) -> int:
    import termios

    ours = os.getpgrp()
    signals.ignore(signals.SIGTTIN, signals.SIGTTOU, signals.SIGTSTP)

    def pass_on(number: int) -> None:
        if number not in (signals.SIGINT, signals.SIGQUIT):  # what is typed the terminal sends to the container itself
            _end_or_tell(pid, number)

    try:
        while True:
            status = _until_it_changes(pid, pass_on, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                return _exit_code(status)
            _stop_with_it(pid, ours, settings)
    finally:
        try:
            os.tcsetpgrp(0, ours)
            termios.tcsetattr(0, termios.TCSADRAIN, settings)  # type: ignore[arg-type]
        except (OSError, termios.error):
            pass  # the terminal is gone


def _until_it_changes(pid: int, asked: "Callable[[int], None]", options: int = 0) -> int:
    """Wait until our child ends, or stops with WUNTRACED; return its status.  `asked` is called for each request to end."""
    while True:
        changed, status = os.waitpid(pid, os.WNOHANG | options)
        if changed:
            return status
        if (number := signals.next_one()) != signals.SIGCHLD:
            asked(number)


def _stop_with_it(pid: int, ours: int, settings: Settings) -> None:
    """Ctrl-Z stopped the command: stop as well, so that the caller's shell gets its terminal, and go on together."""
    import termios

    theirs = termios.tcgetattr(0)
    os.tcsetpgrp(0, ours)
    termios.tcsetattr(0, termios.TCSADRAIN, settings)  # type: ignore[arg-type]
    os.kill(os.getpid(), signals.SIGSTOP)
    termios.tcsetattr(0, termios.TCSADRAIN, theirs)
    os.tcsetpgrp(0, pid)
    os.killpg(pid, signals.SIGCONT)


def _end_or_tell(pid: int, number: int) -> None:
    """Hand a signal on; to a PID 1 that would not even notice it, send the one that it can't ignore."""
    try:
        os.kill(pid, number if life.heeds(pid, number) or not _is_first(pid) else signals.SIGKILL)
    except ProcessLookupError:
        pass


def _is_first(pid: int) -> bool:
    """True when `pid` is PID 1 of its namespace: the last number in its NSpid line.  proc_pid_status(5)"""
    try:
        with open(f"/proc/{pid}/status") as file:
            return any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in file)
    except OSError:
        return False


def _exit_code(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def say(sentence: str) -> None:
    """One sentence on standard error, in one line whatever a name in it holds."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence)
    try:
        sys.stderr.write(f"{plain}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
