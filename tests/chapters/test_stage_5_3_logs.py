"""5.3  What a detached container prints goes to a file; `logs` shows it, `-f` follows what is added."""

import pytest

from tests.chapters.conftest import Chapter, eventually, fresh, holds, until


@holds("5.3")
@pytest.mark.parametrize("flag", ["behind", "before"])
def test_logs_f_follows_what_is_appended_and_prints_nothing_twice(chapter: Chapter, flag: str) -> None:
    """D16: `logs seven -f` shows what is there, then each addition, once and in order, and ends with the container."""
    name = fresh("seven")
    lines = [fresh(f"line{n}") for n in range(4)]
    ends = [fresh("go") for _ in lines]
    script = "; ".join(f"echo {line}; {until(f'/{end}')}" for line, end in zip(lines, ends, strict=True))
    chapter.detach(["sh", "-c", script], name=name)
    log = chapter.state / name / "container.log"
    eventually(lambda: log.read_text() == f"{lines[0]}\n")

    follower = chapter.begin_verb("logs", *([name, "-f"] if flag == "behind" else ["-f", name]))
    assert follower.stdout
    for line, end in zip(lines, ends, strict=True):
        assert follower.stdout.readline().decode() == f"{line}\n"
        assert follower.poll() is None
        (chapter.view(name) / end).touch()
    rest, errors = follower.communicate(timeout=10)
    assert (follower.returncode, rest, errors) == (0, b"", b"")


@holds("5.3")
def test_logs_prints_output_and_errors_and_nothing_of_the_runtimes(chapter: Chapter) -> None:
    """The log is what the container printed, standard error included, byte for byte; `logs` prints the same and ends."""
    name, out, err = fresh("seven"), fresh("out"), fresh("err")
    chapter.detach_to_the_end(["sh", "-c", f"echo {out}; echo {err} >&2; printf '\\377\\0'"], name=name)
    expected = f"{out}\n{err}\n".encode() + b"\xff\0"
    assert (chapter.state / name / "container.log").read_bytes() == expected
    done = chapter("logs", name)
    assert (done.code, done.out.encode(errors="surrogateescape"), done.err) == (0, expected, "")


@pytest.mark.parametrize("chapter", ["5.3", "5.8"], indirect=True)
def test_logs_of_an_unknown_container_is_refused(chapter: Chapter) -> None:
    """There is nothing to show of a container that isn't there, nor of one that runs in the foreground."""
    assert chapter("logs", fresh("nosuch")).code == 125
    assert chapter("logs").code == 125
    assert chapter("logs", "-x", fresh("nosuch")).code == 125
