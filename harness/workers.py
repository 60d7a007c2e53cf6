"""Several checks at once: a pytest plug-in, in the place of its loop that makes one after the other.

    pytest -p harness.plugin -p harness.workers --workers 4 tests/behaviours

Each worker is a fork of pytest as it is when it has found the checks, so none has to import or find anything again.  Whoever
is free makes the next check.  The reports are told in the order of the checks, so what is printed is the same as without
workers, also where it ends at the first failure.
"""

import ctypes
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

import pytest
from _pytest.runner import runtestprotocol

from harness.world import ASK_TO_END

EVERY = 0.1  # seconds
FORK = get_context("fork")
PR_SET_PDEATHSIG = 1  # prctl(2)
MEANWHILE = pytest.StashKey[Callable[[int], None]]()  # is told often how many items are done, in whatever order
NUMBER = 4  # bytes of an item's number in the queue
MOST = 65536 // NUMBER  # items: a pipe holds no more

_libc = ctypes.CDLL(None, use_errno=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("containers").addoption("--workers", type=int, default=1, help="how many checks to make at once")


@pytest.hookimpl
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Make the checks with workers; with one, as pytest does."""
    count = min(session.config.getoption("--workers"), len(session.items))
    if count < 2 or session.testsfailed or session.config.option.collectonly or len(session.items) > MOST:
        return None
    hook = session.config.hook
    with at_work(session, count) as results:
        for item, reports in zip(session.items, in_order(results), strict=True):
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for data in reports:
                report = hook.pytest_report_from_serializable(config=session.config, data=data)
                hook.pytest_runtest_logreport(report=report)
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    return True


Result = tuple[int, list[dict[str, object]]]  # an item's number, and its reports


@contextmanager
def at_work(session: pytest.Session, count: int) -> Generator[Iterator[Result]]:
    """Workers, and what they come to as it comes.  Those that are still at work in the end are interrupted."""
    queue, fill = os.pipe()
    os.write(fill, b"".join(number.to_bytes(NUMBER) for number in range(len(session.items))))
    os.close(fill)
    pipes, workers = [], []
    try:
        for _ in range(count):
            here, theirs = FORK.Pipe(duplex=False)
            pipes.append(here)
            workers.append(FORK.Process(target=work, args=(session, queue, theirs)))
            workers[-1].start()
            theirs.close()
        yield received(pipes, session.config.stash.get(MEANWHILE, lambda done: None))
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                if worker.is_alive() and worker.pid:
                    os.kill(worker.pid, signal.SIGINT)
        for worker in workers:
            worker.join()
        os.close(queue)


def work(session: pytest.Session, queue: int, results: "Connection[Result, object]") -> None:
    """What a worker does: the next check, as long as there is one and somebody wants to know."""
    for number in ASK_TO_END:
        signal.signal(number, interrupt)
    to_data = session.config.hook.pytest_report_to_serializable
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)  # should our parent be killed
    try:
        while index := os.read(queue, NUMBER):
            reports = runtestprotocol(session.items[int.from_bytes(index)], log=False)
            results.send((int.from_bytes(index), [to_data(config=session.config, report=one) for one in reports]))
    except (KeyboardInterrupt, BrokenPipeError):
        session._setupstate.teardown_exact(None)  # the world of the check that was interrupted


def interrupt(*_: object) -> None:
    """Be interrupted, once: Ctrl-C reaches all of us, and our parent passes it on; and so does a terminal that is closed."""
    for number in ASK_TO_END:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def received(pipes: "list[Connection[object, Result]]", meanwhile: Callable[[int], None]) -> Iterator[Result]:
    """What comes from the workers until all have ended."""
    done = 0
    while pipes:
        for pipe in wait(pipes, EVERY):
            assert isinstance(pipe, Connection)
            try:
                result = pipe.recv()
            except EOFError:
                pipes.remove(pipe)
            else:
                done += 1
                yield result
        meanwhile(done)


def in_order(results: Iterator[Result]) -> Iterator[list[dict[str, object]]]:
    """The reports of the first item, of the second one, and so on."""
    early: dict[int, list[dict[str, object]]] = {}
    following = 0
    for number, reports in results:
        early[number] = reports
        while following in early:
            yield early.pop(following)
            following += 1
