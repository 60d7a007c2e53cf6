"""A second thread, without the dear front `threading`."""

import errno
from _thread import start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def start(work: "Callable[[], None]") -> None:
    """Have a new thread do this.  Raises OSError (EAGAIN) when the system allows no more of them.  clone(2)"""
    try:
        start_new_thread(work, ())
    except RuntimeError:  # that is all that Python says of it
        raise OSError(errno.EAGAIN, "there can't be one more thread (see pids.max and `ulimit -u`)") from None
