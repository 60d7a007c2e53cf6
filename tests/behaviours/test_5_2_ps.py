"""5.2  What runs is written down, has a name, and is listed by `ps`."""

import re

import pytest

from harness.expect import expect, expect_end, expect_soon
from harness.program import Program, eventually, fresh
from harness.tables import field
from harness.world import World


@pytest.mark.behaviour("D14", since="5.2")
def test_ps(program: Program, world: World) -> None:
    """D14: a `-ti` container is in another terminal's `ps`, and leaves it at exit."""
    name, token = fresh("bird"), fresh()
    shell = program.begin("sh", tty=True, terminal=True, name=name)
    shell.type(f"echo {token}-$((40 + 2))\n")
    eventually(lambda: f"{token}-42" in shell.screen() or shell.ended())
    expect(f"{token}-42" in shell.screen(), True, "does the shell at the terminal answer?")
    row = program.row(name)
    expect([row.get("NAME"), row.get("STATUS"), row.get("COMMAND")], [name, "running", "sh"], "its row in `ps`")
    pid = row["PID"]
    means = "The PID column has to hold the number by which the host knows the container's first process."
    found = field(world, int(pid), "NSpid").split() if pid.isdecimal() else [pid]
    expect(found, [pid, "1"], "NSpid in /proc/PID/status of the PID in `ps`", means)
    shell.type("exit\n")
    expect_end(shell.wait(10))
    means = "Its record has to be removed when the container ends."
    expect_soon(lambda: program.row(name), {}, "its row in `ps` after its exit", means)


@pytest.mark.behaviour("D15", since="5.2")
def test_unnamed(program: Program) -> None:
    """D15: of an unnamed container NAME equals ID, ten digits."""
    before = {row["NAME"] for row in program.rows()}
    for _ in range(2):
        program.detach("top")
    rows = [row for row in program.rows() if row["NAME"] not in before]
    program.detached[:] = [row["NAME"] for row in rows]
    expect(len(rows), 2, "how many rows `ps` has for two containers")
    for row in rows:
        expect(bool(re.fullmatch("[0-9]{10}", row["ID"])), True, f"is the ID {row['ID']!r} ten digits?")
        expect(row["NAME"], row["ID"], "NAME, which is to equal ID")
    expect(rows[0]["ID"] != rows[1]["ID"], True, "have two containers two IDs?")
