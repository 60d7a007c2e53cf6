"""5.3  What a detached container prints goes to a file; `logs` shows it, `-f` follows what is added."""

import pytest

from harness.expect import expect, expect_end, expect_soon
from harness.program import Program, fresh, until
from harness.world import World


@pytest.mark.behaviour("D16", since="5.3")
def test_follow(program: Program, world: World) -> None:
    """D16: `logs seven -f` follows what is appended, and prints nothing twice."""
    name, host = fresh("seven"), f"/root/{fresh('go')}"
    lines, goes = [fresh(f"line{n}") for n in range(3)], [fresh("go") for _ in range(3)]
    script = "; ".join(f"echo {line}; {until(f'/go/{go}')}" for line, go in zip(lines, goes, strict=True))
    world.path(host).mkdir()
    program.detach("sh", "-c", script, name=name, volumes=[(host, "/go")])
    expect_soon(lambda: program.logs(name).out, f"{lines[0]}\n", "what `logs` prints")
    follower = program.begin_follow(name)
    means = "Standard output has to go to the file, and what is added is to be read from where the last reading ended."
    for n, go in enumerate(goes):
        expected = "".join(f"{line}\n" for line in lines[: n + 1])
        expect_soon(follower.out, expected, f"what `logs -f` has printed after line {n + 1}", means)
        expect(follower.ended(), False, "has `logs -f` ended while the container runs?")
        (world.path(host) / go).touch()
    if not follower.wait(3).timed_out:  # whether it ends with the container is not said
        expect_end(follower.wait())
    expect(follower.out(), "".join(f"{line}\n" for line in lines), "all that `logs -f` has printed", means)


@pytest.mark.behaviour("D16", since="5.3")
def test_logs(program: Program) -> None:
    """D16: `logs` shows all that a detached container has printed, however much."""
    name, token, count = fresh("seven"), fresh(), 5000
    script = f"i=0; while [ $i -lt {count} ]; do echo {token} $i; i=$((i + 1)); done"
    expect_end(program.run("sh", "-c", script, detach=True, name=name))
    means = "Only a part of the file was read: `logs` has to read on until read(2) returns 0 bytes."
    expect_soon(lambda: program.logs(name).out.count("\n"), count, "how many lines `logs` prints", means)
    lines = [f"{token} {n}\n" for n in range(count)]
    expect(program.logs(name).out == "".join(lines), True, "are they those that the container has printed?", means)
