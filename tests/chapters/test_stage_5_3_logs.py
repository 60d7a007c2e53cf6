"""5.3  What a detached container prints goes to a file; `logs` shows it, `-f` follows what is added."""

from tests.chapters.conftest import Chapter, chapters, fresh


@chapters("5.3")
def test_logs_prints_output_and_errors_and_nothing_of_the_runtimes(chapter: Chapter) -> None:
    """The log is what the container printed, standard error included, byte for byte; `logs` prints the same and ends."""
    name, out, err = fresh("seven"), fresh("out"), fresh("err")
    chapter.detach_to_the_end(["sh", "-c", f"echo {out}; echo {err} >&2; printf '\\377\\0'"], name=name)
    expected = f"{out}\n{err}\n".encode() + b"\xff\0"
    assert (chapter.state / name / "container.log").read_bytes() == expected
    done = chapter("logs", name)
    assert (done.code, done.out.encode(errors="surrogateescape"), done.err) == (0, expected, "")
