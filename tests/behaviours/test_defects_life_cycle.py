"""Known defects of other implementations, 8 to 19: containers that don't end, records that lie, words and output that are lost."""

import os
import shlex
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.expect import expect, expect_all, expect_end, expect_not_run, expect_refused, expect_soon
from harness.program import Program, fresh, is_first, long_sleep, until
from harness.running import Done
from harness.tables import command_line, content, exists, tree, visible
from harness.world import World

# --- 8, 9: the end of a container ---


@pytest.mark.behaviour("F8", since="5.6")
def test_stop_then_rm(program: Program, world: World) -> None:
    """F8: stop and rm end a PID 1 that has no handler for SIGTERM; its layer is not deleted while it lives."""
    name, mark, command = fresh("bird"), fresh(), long_sleep()
    expect_end(program.run("sh", "-c", f"echo >/{mark}; exec {' '.join(command)}", detach=True, name=name))
    first = program.appeared(*command)
    file = program.layer(name) / mark
    where = f"{program.place('layer', name=name)}/{mark}"
    expect(file.exists(), True, f"is {where} in its write layer at first?")
    stopped, removed = program.stop(name), program.rm(name)
    lives = command_line(world, first) == list(command)
    means = (
        "The kernel keeps SIGTERM from a PID 1 without a handler for it: after a while send SIGKILL, and wait for the end. "
        "`rm` has to look whether the process lives, whatever the record says of it."
    )
    expect(lives and not file.exists(), False, f"does the process live on while {where} is deleted?", means)
    expect(lives, False, "does the process live after `stop` and `rm`?", means)
    expect(file.exists(), False, f"is {where} still there after `rm`?", "`rm` has to remove the write layer.")
    expect_end(stopped)
    expect_end(removed)


def ended_by_itself(program: Program, world: World, name: str) -> None:
    """A detached container of this name that `ps` has shown as running, and whose command has ended."""
    go, host = fresh("go"), f"/root/{fresh('from')}"
    world.path(host).mkdir()
    first = program.detach("sh", "-c", until(f"/go/{go}"), name=name, volumes=[(host, "/go")])
    expect(program.row(name).get("STATUS"), "running", "its STATUS in `ps` while it runs")
    (world.path(host) / go).touch()
    expect_soon(lambda: exists(world, first), False, "is there /proc/PID of its first process after its end?")


@pytest.mark.behaviour("F9", since="5.2")
def test_ended_is_not_running(program: Program, world: World) -> None:
    """F9: a container that has ended by itself is not `running` in ps."""
    name = fresh("bird")
    ended_by_itself(program, world, name)
    means = "Nobody was there to write it down: `ps` has to look whether the process with the record's PID still lives."
    expect_soon(lambda: program.row(name).get("STATUS") == "running", False, "is it `running` in `ps`?", means)


@pytest.mark.behaviour("F9", since="5.6")
def test_ended_can_be_removed(program: Program, world: World) -> None:
    """F9: a container that has ended by itself can be removed."""
    name = fresh("bird")
    ended_by_itself(program, world, name)
    record, layer = program.record(name), program.layer(name)
    expect(record.exists(), True, "is there its record before `rm`?")
    program.stop(name)  # harmless, or refused: both will do
    done = program.rm(name)
    means = (
        "Its record still says that it runs: `rm` has to look whether the process with the record's PID still lives."
    )
    expect(os.path.lexists(record), False, "is there its record after `rm`?", means)
    expect(os.path.lexists(layer), False, "is there its write layer after `rm`?", means)
    expect_end(done)


# --- 10: exit codes ---

OWN_CODES = ((["sh", "-c", "exit 7"], 7), (["/bin/nosuch"], 127), (["/etc/passwd"], 126))
CODE_LOST = (
    "The exit code that waitpid tells has to become the program's own: WEXITSTATUS, or 128 and the signal's number. 127 and "
    "126 are for what can't be executed: execve fails with ENOENT or EACCES, and the child ends with that code."
)


@pytest.mark.behaviour("F10", since="3.1")
def test_exit_codes(program: Program) -> None:
    """F10: `run` ends with the command's own exit code; 128 + n after signal n, 127 or 126 if it can't be executed."""
    running, first = program.stay()
    program.kill(first)
    expect(running.wait(10).code, 128 + 9, "the exit code of `run` whose command was ended by signal 9", CODE_LOST)
    for command, code in OWN_CODES:
        expect(program.run(*command).code, code, f"the exit code of `run … {shlex.join(command)}`", CODE_LOST)


@pytest.mark.behaviour("F10", since="5.4")
def test_exit_codes_of_exec(program: Program) -> None:
    """F10: `exec` ends with the command's own exit code; 128 + n after signal n, 127 or 126 if it can't be executed."""
    name = fresh("bird")
    program.detach(*long_sleep(), name=name)
    for command, code in (*OWN_CODES, (["sh", "-c", "kill -9 $$"], 128 + 9)):
        expect(program.exec(name, *command).code, code, f"the exit code of `exec … {shlex.join(command)}`", CODE_LOST)


@pytest.mark.behaviour("F10", since="5.3")
def test_refusals_are_no_success(program: Program) -> None:
    """F10: logs, exec, stop and rm of an unknown container do not end with 0."""
    name, unknown = fresh("bird"), fresh("bird")
    program.detach(*long_sleep(), name=name)
    expect_end(program.logs(name))
    verbs: list[tuple[str, Callable[[], Done]]] = [
        ("5.3", lambda: program.logs(unknown)),
        ("5.4", lambda: program.exec(unknown, "true")),
        ("5.5", lambda: program.stop(unknown)),
        ("5.6", lambda: program.rm(unknown)),
    ]
    for chapter, call in verbs:
        if program.knows(chapter):
            expect_refused(
                call(), "Whoever calls the program can't read its messages: an error ends it with 1, or 125."
            )


# --- 11: one name, one container ---


@pytest.mark.behaviour("F11", since="5.2")
def test_name_in_use(program: Program, world: World) -> None:
    """F11: a name in use is refused; the first container's PID, record and layer stay as they were."""
    name, mark, token, command = fresh("bird"), fresh(), fresh(), long_sleep()
    expect_end(program.run("sh", "-c", f"echo >/{mark}; exec {' '.join(command)}", detach=True, name=name))
    first = program.appeared(*command)

    def seen() -> list[object]:
        directory = program.record(name)
        record = {file: content(directory / file) for file in sorted(tree(directory)) if (directory / file).is_file()}
        return [program.row(name), record, tree(program.layer(name)), command_line(world, first)]

    before = seen()
    row, _, layer, _ = before
    expect([row.get("PID"), row.get("STATUS")], [str(first), "running"], "its PID and STATUS in `ps`")  # type: ignore[attr-defined]
    expect_all(layer, [mark], "its write layer")  # type: ignore[arg-type]
    done = program.run("echo", token, name=name)
    means = "Look whether the name is taken before anything is made under it: a mkdir that must not find it there is enough."
    where = ("its row in `ps`", "the files of its record", "its write layer", "the command line of its first process")
    for place, then, now in zip(where, before, seen(), strict=True):
        expect(now, then, f"{place}, after a second `run` of the same name", means)
    expect_not_run(done, token, means)


@pytest.mark.behaviour("F11", since="5.2")
def test_two_at_once(program: Program, world: World) -> None:
    """F11: of several who want one name at the same time exactly one gets it."""
    name, command = fresh("bird"), long_sleep()
    runs = [program.begin(*command, detach=True, name=name) for _ in range(4)]
    codes = [running.wait(10).code for running in runs]
    means = "Looking and then making lets two pass: make the directory with mkdir, which succeeds for one only, and then look."

    def there() -> list[str]:
        return [str(process.pid) for process in world.processes() if process.cmdline == command and is_first(process)]

    # `run -d` may end a moment before its container's process has become the command.
    expect_soon(lambda: len(there()), 1, "how many containers run after four `run -d` of one name at once", means)
    expect(codes.count(0), 1, "how many of the four ended with exit code 0", means)
    expect([program.row(name).get("PID")], there(), "the PID of that name in `ps`", means)


# --- 12, 13, 14: images ---


@pytest.mark.behaviour("F12", since="5.7")
def test_unknown_image(program: Program) -> None:
    """F12: an unknown image is refused, and its name stays good: once its tar is there, it runs."""
    image, token = fresh("image"), fresh()
    done = program.run("echo", token, image=image)
    expect_not_run(done, token, "There is no such image: the container would run on an empty root.")
    means = "Look for the tar before a directory is made for it, and take the directory away when unpacking fails."
    expect(
        program.there("image", image=image), False, f"is there the root directory of {image} after the refusal?", means
    )
    program.make_image(image)
    done = program.run("echo", token, image=image)
    expect(
        done.out, f"{token}\n", f"what it prints once {program.subject.place('tarball', image=image)} is there", means
    )


@pytest.mark.behaviour("F13", since="5.7")
def test_commit_again(program: Program) -> None:
    """F13: a commit to an image that is there already is seen by the next run."""
    name, image = fresh("bird"), fresh("image")
    program.detach(*long_sleep(), name=name)
    for version in (fresh("one"), fresh("two")):
        expect_end(program.exec(name, "sh", "-c", f"echo {version} >/version"))
        expect_end(program.commit(name, image))
        means = (
            "The directory that was unpacked from the old tar was used: when the tar is a newer one, unpack it anew."
        )
        expect(program.run("cat", "/version", image=image).out, f"{version}\n", "what the next run reads", means)


NOTHING_TO_PACK = (
    "Look for the container before the tar is opened: what is packed of an empty directory is a valid tar."
)


@pytest.mark.behaviour("F14", since="4.4", until="5.7")
def test_commit_of_none(program: Program) -> None:
    """F14: a commit while no container runs is refused, and makes no tar."""
    image, other = fresh("image"), fresh("image")
    running, _ = program.stay(name=program.new_name())
    expect_end(program.commit("", image))
    expect(program.tarball(image).exists(), True, "is there a tar after a commit while one runs?")
    program.end(running)
    done = program.commit("", other)
    where = program.subject.place("tarball", image=other)
    expect(os.path.lexists(program.tarball(other)), False, f"is there {where}?", NOTHING_TO_PACK)
    expect_refused(done, NOTHING_TO_PACK)


@pytest.mark.behaviour("F14", since="5.7")
def test_commit_of_unknown(program: Program) -> None:
    """F14: a commit of an unknown container is refused, and makes no tar."""
    name, image, other = fresh("bird"), fresh("image"), fresh("image")
    program.detach(*long_sleep(), name=name)
    expect_end(program.commit(name, image))
    expect(program.tarball(image).exists(), True, "is there a tar after a commit of one that is known?")
    done = program.commit(fresh("bird"), other)
    where = program.subject.place("tarball", image=other)
    expect(os.path.lexists(program.tarball(other)), False, f"is there {where}?", NOTHING_TO_PACK)
    expect_refused(done, NOTHING_TO_PACK)


# --- 15: a foreground container's root ---


@pytest.mark.behaviour("F15", since="4.2")
def test_root_stays(program: Program, world: World) -> None:
    """F15: a foreground container's root stays whole while it runs, whatever other verbs are used meanwhile."""
    name, mark, command = program.new_name(), fresh(), long_sleep()
    running = program.begin("sh", "-c", f"echo {mark} >/{mark}; exec {' '.join(command)}", name=name)
    first = program.appeared(*command, runtime=running)
    root = world.proc(first) / "root"
    before = {place: visible(root / place) for place in ("", "bin", "etc")}
    expect(mark in before[""] and "sh" in before["bin"], True, "has it its file and /bin/sh at first?")
    program.run("true")
    if name:
        expect(program.row(name).get("STATUS"), "running", "its STATUS in `ps`")
    if name and program.knows("5.6"):
        expect_refused(program.rm(name), "It runs: its root is in use.")
    means = "Its layers were removed while it runs: they go when waitpid has told of its end, and not before."
    for place, names in before.items():
        expect(visible(root / place) == names, True, f"is all still there in /{place} of its root?", means)
    expect(content(root / mark), f"{mark}\n", f"its file /{mark}", means)
    expect(command_line(world, first), list(command), "its first process", means)


# --- 16, 17: words ---

ODD_WORDS = [
    "",
    "two words",
    "  blanks  ",
    "a\nline",
    "a\ttab",
    "'",
    '"',
    "$HOME $(id)",
    "*",
    "back\\slash",
    "; exit 3; #",
]
ODD_WORDS += ["--", "-ti", "--name", "grün 容器", os.fsdecode(b"\xff\xfe not UTF-8"), "x" * 100_000]


@pytest.mark.behaviour("F16", since="5.4")
def test_words_of_exec(program: Program) -> None:
    """F16: the words of the command of `exec` arrive as typed."""
    name, words = fresh("bird"), [fresh(), *ODD_WORDS, fresh()]
    program.detach(*long_sleep(), name=name)
    done = program.exec(name, "sh", "-c", 'printf "%s\\0" "$@"', "sh", *words)
    means = (
        "Words that are joined to one line and split again on blanks are not the same words: hand them on as a list."
    )
    expect(done.out.split("\0")[:-1], words, "the command's arguments, as it prints them", means)
    expect_end(done)


FLAGS = ["-ti", "-d", "-m", "1", "--name", "x", "-v", "a:b", "-cpuset", "77", "-e", "A=1", "-f"]
TAKEN = "These words are the command's: stop looking for options of your own at the first word that is none."


@pytest.mark.behaviour("F17", since="3.1")
def test_flags_of_the_command(program: Program) -> None:
    """F17: flags behind the command are the command's own, whatever they mean to `run`."""
    words = [fresh(), *FLAGS]
    done = program.run("echo", *words)
    expect(done.out, f"{' '.join(words)}\n", "what `echo` prints", TAKEN)
    expect_end(done)


@pytest.mark.behaviour("F17", since="5.4")
def test_flags_in_exec(program: Program) -> None:
    """F17: flags behind the command of `exec` are the command's own."""
    name, words = fresh("bird"), [fresh(), *FLAGS]
    program.detach(*long_sleep(), name=name)
    done = program.exec(name, "echo", *words)
    expect(done.out, f"{' '.join(words)}\n", "what `echo` prints", TAKEN)
    expect_end(done)


# --- 18: logs ---


@pytest.mark.behaviour("F18", since="5.3")
def test_standard_error_in_log(program: Program) -> None:
    """F18: the log holds a detached container's standard error, and no lines of the runtime's own."""
    name, out, err = fresh("bird"), fresh("out"), fresh("err")
    program.detach("sh", "-c", f"echo {out}; echo {err} >&2; {until('/nosuch')}", name=name)
    means = (
        "Both descriptors, 1 and 2, have to lead to the log; what the program itself prints belongs to its own standard "
        "error, on the caller's terminal."
    )
    expect_soon(lambda: out in program.logs(name).out, True, "is its standard output in `logs`?")
    expect_soon(
        lambda: sorted(program.logs(name).out.splitlines()), [err, out], "the lines of `logs`", means, seconds=2
    )


# --- 19: volumes ---


@pytest.mark.behaviour("F19", since="4.3")
def test_many_volumes(program: Program, world: World) -> None:
    """F19: there may be several volumes, and directories are made at any depth, on both sides."""
    pairs = [(f"/root/{fresh('a')}/b/c", f"/{fresh('x')}/y/z"), (f"/root/{fresh('d')}", f"/{fresh('w')}")]
    texts = [fresh() for _ in pairs]
    script = "; ".join(f"echo {text} >{inside}/file" for text, (_, inside) in zip(texts, pairs, strict=True))
    done = program.run("sh", "-c", script, volumes=pairs)
    means = "Each -v is to be kept, and both its directories made with all that is missing above them (mkdir -p)."
    for text, (host, inside) in zip(texts, pairs, strict=True):
        expect(content(world.path(host) / "file"), f"{text}\n", f"{host}/file, written as {inside}/file", means)
    expect_end(done)


@pytest.mark.behaviour("F19", since="4.3")
def test_bad_volumes(program: Program) -> None:
    """F19: a bad value of -v is refused, and the command does not run without its volume."""
    token, host = fresh(), f"/root/{fresh('from')}"
    program.world.path(host).mkdir()
    done = program.run("echo", token, volumes=[(host, "/to")])
    expect(done.out, f"{token}\n", "what the command prints with a good volume")
    means = "A volume is HOST:CONTAINER, two absolute paths: refuse all else before anything is made."
    for bad in (("", "/to"), (host, ""), ("", ""), (fresh("relative"), "/to"), (host, "relative")):
        expect_not_run(program.run("echo", token, volumes=[bad]), token, means)
    usual = program.subject
    program.subject = replace(
        usual, options={**usual.options, "volume": usual.options["volume"].replace(":{inside}", "")}
    )
    if program.subject != usual:  # spelled with a colon, so it can be without
        expect_not_run(program.run("echo", token, volumes=[(host, "/to")]), token, means)
