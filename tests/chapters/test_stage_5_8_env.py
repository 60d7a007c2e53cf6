"""5.8  An environment of the user's choosing, in run and in exec."""

from pathlib import Path

import pytest

from tests.chapters.conftest import Chapter, fresh, holds


def environment(pid: int) -> list[str]:
    """What the kernel shows of a process's environment."""
    return Path(f"/proc/{pid}/environ").read_text().split("\0")[:-1]


@holds("5.8")
def test_env_shows_what_was_given_in_run_and_in_exec(chapter: Chapter) -> None:
    """D21: `-e K=V`, repeated, is in the command's environment and in that of what `exec` starts, word for word."""
    name, one, two = fresh("bird"), fresh(), f"two  words = {fresh()}"
    options = ["-e", f"ONE={one}", "-e", f"TWO={two}", "-e", "EMPTY="]
    first = chapter.detach(["sleep", "1000"], *options, name=name)
    given = {f"ONE={one}", f"TWO={two}", "EMPTY="}
    assert given <= set(environment(first))
    assert given <= set(chapter("exec", name, "env").lines)
    assert given <= set(chapter.run(options, ["env"]).lines)
    assert not given & set(chapter.run([], ["env"]).lines), "who asks for nothing gets nothing"


@holds("5.8")
def test_nothing_of_the_hosts_environment_is_beside_it(chapter: Chapter) -> None:
    """D21: the environment is PATH, HOME and what was given, in run and in exec; the host's is not there."""
    name, secret = fresh("bird"), fresh("secret")
    chapter.extra = {"HOST_SECRET": secret}
    first = chapter.detach(["sleep", "1000"], "-e", "ONE=1", name=name)
    assert {pair.partition("=")[0] for pair in environment(first)} == {"PATH", "HOME", "ONE"}
    for done in (chapter("exec", name, "env"), chapter.run(["-e", "ONE=1"], ["env"])):
        assert "ONE=1" in done.lines and secret not in done.out


@holds("5.8")
def test_the_last_value_of_a_variable_counts(chapter: Chapter) -> None:
    """D21: also PATH and HOME are the user's to choose, and of two values the last is taken."""
    done = chapter.run(["-e", "HOME=/first", "-e", "HOME=/second", "--e", "X=1", "-e=Y=2"], ["env"])
    assert [line for line in done.lines if line.startswith(("HOME=", "X=", "Y="))] == [
        "HOME=/second",
        "X=1",
        "Y=2",
    ]


@pytest.mark.parametrize("chapter", ["5.8"], indirect=True)
@pytest.mark.parametrize("value", ["NOEQUALS", "=value", ""])
def test_a_variable_without_a_name_or_value_is_refused(chapter: Chapter, value: str) -> None:
    """`-e` takes KEY=VALUE: anything else is refused, and nothing is run."""
    done = chapter.run(["-e", value], ["echo", "it ran"])
    assert (done.code, done.out, done.err.count("\n")) == (125, "", 1)
