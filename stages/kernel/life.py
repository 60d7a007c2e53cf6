"""Is the process that we started still alive?  A test that a recycled pid, a zombie or a reboot can't fool.

A pid alone says nothing: numbers are used again, and after a reboot they all start anew. Together with the boot's id and
the process's start time it names one process for ever.  https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

import os

from stages.kernel import files, signals
from stages.kernel.errors import Failure

_boot_id: list[str] = []  # it stays the same as long as we run


def boot_id() -> str:
    """The id that the kernel made up when it booted."""
    if not _boot_id:
        _boot_id.append(files.read("/proc/sys/kernel/random/boot_id").decode().strip())
    return _boot_id[0]


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the program's name, which may itself hold blanks and brackets."""
    try:
        text = files.read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(b")") + 2 :].split()


def start_time(pid: int) -> int:
    """When process `pid` started, in clock ticks since the boot; 0 when there is no such process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def is_alive(pid: int, started: int, boot: str) -> bool:
    """True when the very process that started at tick `started` of boot `boot` still runs.  A zombie doesn't."""
    if pid <= 0:
        return False
    fields = _stat(pid)
    return bool(fields) and fields[0] not in b"ZX" and int(fields[19]) == started and boot == boot_id()


def hold(pid: int, started: int, boot: str) -> int | None:
    """A pidfd for that very process, or None when it has ended.

    The pidfd is opened first and the start time looked at afterwards, so it is the process that was meant. The number may
    become another's later; what is sent through the pidfd reaches this process or nobody.
    https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    """
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError, OSError):
        return None
    if is_alive(pid, started, boot):
        return pidfd
    os.close(pidfd)
    return None


def heeds(pid: int, signal: int) -> bool:
    """True when `signal` can have an effect on `pid`, the PID 1 of its namespace.

    The kernel drops a signal that such a process neither catches nor blocks.
    https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
    """
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status") as file:
                for line in file:
                    if line.startswith(("SigBlk:", "SigCgt:")) and int(line.split()[1], 16) >> (signal - 1) & 1:
                        return True
    except (FileNotFoundError, ProcessLookupError):
        pass
    return False


def wait_for_end(pidfd: int, seconds: float) -> bool:
    """Wait at most `seconds` until the process behind `pidfd` ends; True when it did."""
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0, int(seconds * 1000))))


def kill_and_wait(pidfd: int, seconds: float = 10) -> None:
    """SIGKILL, and wait until the kernel has ended the process and with it all of its pid namespace."""
    if signals.send(pidfd, signals.SIGKILL) and not wait_for_end(pidfd, seconds):
        raise Failure(
            f"the process did not end within {seconds:g} s of SIGKILL: it hangs in the kernel (state D in ps)"
        )


def end(pidfd: int, pid: int, patience: float) -> None:
    """End a container by its PID 1: SIGTERM, at most `patience` seconds, SIGKILL.  Raises Failure if it won't go.

    A PID 1 that doesn't heed SIGTERM isn't waited for.
    """
    asked = patience > 0 and heeds(pid, signals.SIGTERM) and signals.send(pidfd, signals.SIGTERM)
    if not asked or not wait_for_end(pidfd, patience):
        kill_and_wait(pidfd)
