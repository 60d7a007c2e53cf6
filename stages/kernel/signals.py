"""Signals to the runtime itself: while it sets up they undo, while it waits they go on to the container."""

import _signal  # type: ignore[import-not-found]  # `signal` would import `enum`, 4 ms; it has no typing stubs
from _collections_abc import Callable

from stages.kernel.errors import Interrupted

SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU = (
    1,
    2,
    3,
    9,
    15,
    17,
    18,
    19,
    20,
    21,
    22,
)
ASKS_TO_END = (SIGHUP, SIGINT, SIGQUIT, SIGTERM)


def _interrupt(number: int, _frame: object) -> None:
    # Whoever asks twice would cut the cleaning up.  Not SIG_IGN: Python complains of a request that has come already.
    _set(lambda *_: None)
    raise Interrupted(number)


def as_a_new_process_expects_them() -> None:
    """Default actions and an empty mask, whatever our caller or Python had set.

    Python ignores SIGPIPE and SIGXFSZ, and execve keeps what is ignored.  signal(7)
    """
    for number in range(1, _signal.NSIG):
        if number not in (SIGKILL, SIGSTOP, 32, 33):  # the last two are the C library's own
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def ignore(*numbers: int) -> None:
    """From now on these signals do nothing to us."""
    for number in numbers:
        _signal.signal(number, _signal.SIG_IGN)


def send(pidfd: int, number: int) -> bool:
    """Send a signal to the very process behind `pidfd`; False when it has ended already.  pidfd_send_signal(2)"""
    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def hold_back() -> None:
    """Requests to end wait, until `let_in` or `next_one`, and so does what the kernel tells of children.  sigprocmask(2)"""
    _signal.signal(SIGCHLD, _signal.SIG_DFL)  # for a caller that ignores it the exit code of a child would be lost
    _signal.pthread_sigmask(_signal.SIG_BLOCK, [*ASKS_TO_END, SIGCHLD])


def let_in() -> None:
    """Requests to end are delivered again, and those that waited first."""
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, ASKS_TO_END)


def raise_when_asked_to_end() -> None:
    """From now on a request to end raises Interrupted, so that what was begun is undone; further ones are ignored then."""
    _set(_interrupt)


def note_requests(noted: list[int]) -> None:
    """From now on a request to end is only put into `noted`, for whoever can't be left in the middle."""
    _set(lambda number, _frame: noted.append(number))


def next_one() -> int:
    """Wait for a request to end that our caller had not ignored, or for SIGCHLD; all have to be held back.  sigwait(3)

    With a handler one could come between looking and waiting: it would be noted, and nobody woken.
    """
    return int(
        _signal.sigwait([number for number in _ours | {SIGCHLD} if _signal.getsignal(number) != _signal.SIG_IGN])
    )


def hold_off() -> None:
    """From now on requests to end are ignored: cleaning up is short and must not be cut."""
    _set(_signal.SIG_IGN)


def save() -> "tuple[dict[int, object], set[int]]":
    """How this program handles the signals that are handled otherwise here, and which of all it holds back: for `restore`."""
    handled = {number: _signal.getsignal(number) for number in (*ASKS_TO_END, SIGCHLD, SIGTTIN, SIGTTOU, SIGTSTP)}
    return handled, _signal.pthread_sigmask(_signal.SIG_BLOCK, [])


def restore(saved: "tuple[dict[int, object], set[int]]") -> None:
    """Handle signals as when `saved` was saved; those that were held back meanwhile are delivered."""
    handled, held_back = saved
    for number, handler in handled.items():
        if handler is not None:  # None: it isn't Python's
            _signal.signal(number, handler)
    _ours.clear()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, held_back)


def _set(handler: "Callable[[int, object], None] | int") -> None:
    for number in ASKS_TO_END:
        if _signal.getsignal(number) != _signal.SIG_IGN or number in _ours:
            _signal.signal(number, handler)
            _ours.add(number)


_ours: set[int] = set()  # a signal that our caller had ignored (nohup) stays ignored; one that we ignored doesn't
