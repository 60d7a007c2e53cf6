"""The `stages` command: list, show, show --flat and reset; and the five faces of every step that they rely on."""

import fcntl
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages import LADDER, Rung, load, show
from stages.kernel import inside, journal, steps
from stages.kernel.places import Places
from stages.kernel.spec import Program, Spec
from stages.kernel.step import Start, Step
from tests.conftest import STAGES, Result, Stage, eventually

NUMBERS = [rung.number for rung in LADDER]
OUTLIVE = (steps.HostDirectory, steps.UnpackImage)  # what these make stays: the host's data, and the image


def stages(*words: str, environment: dict[str, str] | None = None) -> Result:
    """The `stages` command as a person calls it."""
    done = subprocess.run(
        [str(STAGES), *words], capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    return Result(done.returncode, done.stdout, done.stderr)


def every_step() -> list[type[Step]]:
    """All step classes that there are."""
    kinds = [kind for module in (steps, inside) for kind in vars(module).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, Step) and kind is not Step]


def name_of(kind: type[Step]) -> str:
    return kind.__name__


def targets() -> list[str]:
    """Where there are mounts."""
    return [line.split(b" ")[4].decode() for line in Path("/proc/self/mountinfo").read_bytes().split(b"\n")[:-1]]


def groups_of(container_id: str) -> list[Path]:
    """The control groups of one container."""
    return list(Path("/sys/fs/cgroup").glob(f"**/zocker/{container_id}"))


# --- list and show ------------------------------------------------------------------------------------------------------


def test_list_names_every_chapter_in_order() -> None:
    """`stages list`: one line a chapter, with its number, its directory and its idea."""
    done = stages("list")
    assert done.code == 0 and len(done.lines) == len(LADDER) >= 15
    for line, rung in zip(done.lines, LADDER, strict=True):
        assert line.split()[:2] == [rung.number, rung.package]
        assert line.endswith(rung.idea)
        assert (STAGES.parent.parent / rung.package / "__init__.py").is_file()
    assert sorted(NUMBERS, key=lambda number: [int(part) for part in number.split(".")]) == NUMBERS


@pytest.mark.parametrize("rung", LADDER, ids=NUMBERS)
def test_show_names_the_new_steps_and_the_verbs(rung: Rung) -> None:
    """`stages show X` by any of X's names: its idea, its new steps with their why, and the verb that is new."""
    done = stages("show", rung.number)
    assert done.code == 0 and done.lines[0].startswith(f"{rung.number}  {rung.idea}")
    for step, _ in show.new_steps(rung):
        assert f"    {type(step).__name__}: " in done.out
        assert step.why[:40] in done.out
    verbs = next(line for line in done.lines if line.startswith("Verbs: "))
    assert re.findall(r"(\w+) \(new\)", verbs) == ([rung.verb] if rung.verb else [])
    assert stages("show", rung.package).out == done.out


def test_some_new_steps_are_what_the_chapters_say() -> None:
    """The chapters' ideas are where the tutorial has them."""
    for number, expected in {
        "3.1": {"Namespaces", "PrivateMounts", "Proc", "Execute"},
        "3.2": {"MakeCgroup", "SetLimit", "JoinCgroup"},
        "3.3": {"ReceiveCommand"},
        "4.1": {"PivotRoot", "Dev"},
        "4.2": {"WriteLayer", "Union"},
        "4.3": {"HostDirectory", "Volume"},
        "5.2": {"WriteRecord"},
        "5.3": {"CreateLog"},
    }.items():
        shown = set(re.findall(r"^    (\w+): ", stages("show", number).out, re.MULTILINE))
        assert expected <= shown, number
    for number in ("4.4", "5.4", "5.5", "5.6"):
        assert "adds a verb" in stages("show", number).out


@pytest.mark.parametrize("rung", LADDER, ids=NUMBERS)
def test_flat_lists_each_step_with_its_origin_and_its_why(rung: Rung) -> None:
    """`stages show X --flat`: every step of the program once, as a line of shell, with the chapter it is from, and why."""
    done = stages("show", rung.number, "--flat")
    assert done.code == 0 and stages("show", "--flat", rung.number).out == done.out
    blocks = re.findall(r"^(\w+): .*# (\d\.\d)\n((?:    .*\n?)+)", done.out, re.MULTILINE)
    program = show.example(rung).all()
    assert [name for name, _, _ in blocks] == [type(step).__name__ for step in program]
    for (_, origin, body), step in zip(blocks, program, strict=True):
        assert origin in NUMBERS[: NUMBERS.index(rung.number) + 1]
        assert re.findall(r"^    \$ (.*)$", body, re.MULTILINE) == step.shell().splitlines()
        assert re.sub(r"\s+", " ", body.replace("    # ", " ")).strip().endswith(step.why)


@pytest.mark.parametrize("number", NUMBERS[1:])
def test_a_new_step_is_not_in_the_chapter_before(number: str) -> None:
    """What `show` calls new in a chapter has that chapter as its origin, and the flat list of the one before doesn't have it."""
    rung = LADDER[NUMBERS.index(number)]
    before = LADDER[NUMBERS.index(number) - 1]
    here, there = (stages("show", which.number, "--flat").out for which in (rung, before))
    for step, _ in show.new_steps(rung):
        for line in step.shell().splitlines():
            assert f"    $ {line}\n" in here
        block = "".join(f"    $ {line}\n" for line in step.shell().splitlines())
        first = f"{type(step).__name__}: {(type(step).__doc__ or '').splitlines()[0]}"
        assert f"{first}    # {number}\n{block}" in here
        assert not re.search(f"^{re.escape(first)}    # [0-9.]+\n{re.escape(block)}", there, re.MULTILINE)
    assert f"    # {number}\n" not in there
    if number == "4.2":
        assert "WriteLayer: " in here and "WriteLayer: " not in there
        assert "Union: " in here and "Union: " not in there


def test_what_stages_does_not_know_is_refused_in_one_sentence() -> None:
    """An unknown chapter or command: one sentence on standard error and 125."""
    for words in (
        ["show", "9.9"],
        ["show"],
        ["nosuch"],
        ["show", "5.7", "--nosuch"],
        ["run", "9.9", "--", "run", "true"],
    ):
        done = stages(*words)
        assert (done.code, done.out, done.err.count("\n")) == (125, "", 1), words
    assert stages("--help").out == stages().out != ""


# --- reset --------------------------------------------------------------------------------------------------------------


def reset(program: Stage) -> Result:
    return stages("reset", environment={"ZOCKER_ROOT": str(program.root), "ZOCKER_STATE": str(program.state)})


def assert_undone(program: Stage) -> None:
    """Nothing of any container is left below this root and state, and the kernel's tables name none."""
    assert not [target for target in targets() if target.startswith(f"{program.root}/")]
    assert {name for name in os.listdir(program.root) if not name.startswith(".")} <= {"busybox", "busybox.tar"}
    containers = program.root / ".zocker" / "containers"
    assert not containers.exists() or os.listdir(containers) == []
    assert not program.state.exists() or os.listdir(program.state) == []


def test_reset_undoes_what_runs_and_what_has_ended(stage: Callable[[str], Stage], tmp_path: Path) -> None:
    """A running detached one, one that ended by itself and one whose runtime was killed: all undone, each named."""
    program = stage("5.7")
    volume = ["-v", f"{tmp_path}/from:/to", "-m", "100m"]
    assert program("run", "-d", "--name", "runs", *volume, "busybox", "sleep", "1000").code == 0
    assert program("run", "-d", "--name", "ended", *volume, "busybox", "touch", "/to/file").code == 0
    runtime = program.start("run", "--name", "killed", *volume, "busybox", "sleep", "1000")
    eventually(lambda: (program.state / "killed" / "config.json").exists())
    pids = [program.pid(name) for name in ("runs", "killed")]
    eventually(lambda: "sleep" in Path(f"/proc/{pids[1]}/cmdline").read_text())
    runtime.kill()
    runtime.communicate()
    assert {f"{program.root}/mnt/{name}" for name in ("runs", "ended", "killed")} <= set(targets())

    done = reset(program)
    assert (done.code, sorted(done.lines)) == (0, ["undone: ended", "undone: killed", "undone: runs"]), done
    assert_undone(program)
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}/exe")
    assert (tmp_path / "from" / "file").exists(), "the host's data stays"
    assert reset(program).out == "", "there is nothing left to undo"


@pytest.mark.parametrize("number", ["3.1", "4.2", "5.1", "5.3", "5.7"])
def test_reset_undoes_in_every_kind_of_chapter(stage: Callable[[str], Stage], number: str) -> None:
    """Also the chapters without records, and those with one layer for all, are undone from the journal."""
    program = stage(number)
    words = ["run", *(["-d"] if number >= "5.1" else []), *(["busybox"] if number >= "5.7" else []), "sleep", "1000"]
    runtime = program.start(*words)
    journals = program.root / ".zocker" / "containers"
    eventually(lambda: journals.exists() and any(journal.Done(str(home)).pid for home in journals.iterdir()))
    if number < "5.1":
        runtime.kill()
    runtime.communicate(timeout=10)
    assert os.listdir(journals)
    done = reset(program)
    assert (done.code, len(done.lines)) == (0, 1), done
    assert_undone(program)


def test_reset_undoes_a_run_that_was_killed_in_the_middle(stage: Callable[[str], Stage]) -> None:
    """SIGKILL while the runtime unpacks the image: the name, the record and the control group are there, no process is.

    The test holds the lock of the image, so the runtime waits just there.
    """
    program = stage("5.7")
    images = program.root / ".zocker" / "images"
    images.mkdir(parents=True)
    with open(images / "busybox.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        runtime = program.start("run", "--name", "half", "-m", "100m", "busybox", "true")
        home = program.root / ".zocker" / "containers" / "half"
        eventually(lambda: "UnpackImage" in [name for name, _, _ in journal.Done(str(home)).steps])
        runtime.kill()
        runtime.communicate()
    container_id = str(journal.Done(str(home)).container["id"])
    assert (program.state / "half").is_dir() and groups_of(container_id)
    assert reset(program).out == "undone: half\n"
    assert_undone(program)
    assert not groups_of(container_id)
    assert program("run", "--name", "half", "busybox", "true").code == 0, "the name is free, the image is whole"


def test_reset_undoes_a_run_that_was_killed_anywhere(stage: Callable[[str], Stage], tmp_path: Path) -> None:
    """SIGKILL at moments spread over the whole set-up: after each, `reset` gives the machine back, and a run works."""
    program = stage("5.7")
    options = ["-m", "100m", "-cpuset", "0", "-v", f"{tmp_path}/from:/to"]
    begun = time.monotonic()
    assert program("run", "busybox", "true").code == 0
    begun = time.monotonic()
    assert program("run", *options, "busybox", "true").code == 0
    whole = time.monotonic() - begun
    half_made = 0
    for part in range(16):
        runtime = program.start("run", "--name", "half", *options, "busybox", "true")
        time.sleep(whole * part / 16)  # no condition to wait for: any moment will do
        runtime.kill()
        runtime.communicate()
        half_made += (program.root / ".zocker" / "containers" / "half").exists()
        done = reset(program)
        assert done.code == 0, done
        assert_undone(program)
    assert half_made >= 2, "some of them were caught in the middle"
    assert program("run", "--name", "half", "busybox", "true").code == 0


# --- the five faces -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", every_step(), ids=name_of)
def test_every_step_has_its_five_faces(kind: type[Step]) -> None:
    """do, shell, seen and why are its own, undo it has, and its docstring's first line is a sentence."""
    for face in ("do", "shell", "seen"):
        assert getattr(kind, face) is not getattr(Step, face), face
    assert callable(kind.undo)
    assert kind.why and kind.why.rstrip().endswith((".", "!", "?"))
    assert kind.__doc__ and kind.__doc__.splitlines()[0].endswith(".")
    assert kind.__doc__ != Step.__doc__


@pytest.mark.parametrize("number", NUMBERS)
def test_every_step_of_every_chapter_says_itself_in_shell(number: str) -> None:
    """No step is without a why, and none without a line of shell but the one that a shell has no need of."""
    for step in show.example(LADDER[NUMBERS.index(number)]).all():
        assert step.why.strip(), step
        assert bool(step.shell().strip()) is not isinstance(step, inside.ReceiveCommand), step
    script = "\n".join(step.shell() for step in show.example(LADDER[NUMBERS.index(number)]).outside)
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0


@pytest.mark.parametrize("number", ["4.1", "4.2", "5.8"])
def test_every_step_of_a_real_run_is_seen_and_after_it_is_not(
    stage: Callable[[str], Stage], tmp_path: Path, number: str
) -> None:
    """While a container runs, the kernel's tables show each of its steps; when it is undone they show none but what is to stay."""
    program = stage(number)
    options = ["-m", "100m", "-cpushare", "512", "-cpuset", "0"]
    if number == "5.8":
        options += ["-d", "--name", "bird", "-v", f"{tmp_path}/from:/to", "-e", "ONE=1"]
    command = (["busybox"] if number == "5.8" else []) + ["sh", "-c", "echo >/written; exec sleep 1000"]
    runtime = program.start("run", *options, *command)
    journals = program.root / ".zocker" / "containers"
    eventually(lambda: journals.exists() and os.listdir(journals))
    (home,) = journals.iterdir()
    eventually(lambda: sole_command(journal.Done(str(home)).pid).startswith("sleep"))
    done = journal.Done(str(home))
    real = [getattr(steps, name, None) or getattr(inside, name) for name, _, _ in done.steps]
    made = [kind(**fields) for kind, (_, fields, _) in zip(real, done.steps, strict=True)]
    for step in made:
        assert step.seen(done.pid).strip(), f"the kernel shows nothing of {step}"
    if number != "5.8":
        runtime.terminate()
    runtime.communicate(timeout=10)
    assert reset(program).code == 0
    for step in made:
        if type(step) in OUTLIVE:
            assert step.seen(done.pid)
        else:
            assert step.seen(done.pid) == "", f"it is still there: {step}"


def sole_command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text() if pid else ""
    except OSError:
        return ""


@pytest.fixture
def process() -> Iterator[int]:
    """An ordinary process of the host's, to be put into groups."""
    sleep = subprocess.Popen(["sleep", "1000"])
    yield sleep.pid
    sleep.kill()
    sleep.wait()


def program_of(number: str, directory: Path) -> Program:
    """A container of this chapter that asks for all that the chapter can do, below `directory`."""
    stage = load(LADDER[NUMBERS.index(number)])
    places = Places(f"{directory}/root", f"{directory}/state")
    spec = Spec("bird", str(10**9 + secrets.randbelow(9 * 10**9)), places, ["sleep", "1000"])
    wanted = {"m": "100m", "cpushare": "512", "cpuset": "0", "v": f"{directory}/from/deep:/to/deep"}
    for name, value in wanted.items():
        if name in stage.all_options():
            stage.all_options()[name](spec, value)
    if "d" in stage.all_switches():
        stage.all_switches()["d"](spec, "")
    stage.plan(spec)
    return stage.program(spec)


@pytest.mark.parametrize("number", ["3.2", "4.2", "5.8"])
def test_each_host_side_step_is_seen_after_do_and_not_after_undo(root: Path, process: int, number: str) -> None:
    """Each step on the host's side, done for real one after another: seen after `do`, after `undo` as it was before.

    Undo is harmless before the step was done, and a second time. A step without an undo of its own goes with another one:
    a limit with its group, a file with its directory. The host's directory and the unpacked image stay.
    """
    assert stages("run", "4.2", "--", "run", "true", environment={"ZOCKER_ROOT": str(root)}).code == 0
    (root / ".zocker" / "containers" / "bird").mkdir(parents=True)
    program = program_of(number, root.parent)
    start = Start(["sleep", "1000"])
    start.pid = process
    done: list[tuple[Step, dict[str, object]]] = []
    wrong = []
    files = tree(root.parent)
    try:
        for step in [*program.outside, *program.started]:
            look = step.look()
            before = step.seen(process)
            step.undo(look)
            done.append((step, look))
            step.do(start)
            after = step.seen(process)
            if not after.strip():
                wrong.append(f"not seen after do: {step}")
            if isinstance(step, steps.SetLimit):
                assert step.value in after or step.if_there, f"{after!r} of {step}"
            elif type(step) not in OUTLIVE and before == after:
                wrong.append(f"seen as much before as after: {step}")
            if type(step).undo is not Step.undo and type(step) not in OUTLIVE:
                step.undo(look)
                step.undo(look)
                if step.seen(process):
                    wrong.append(f"seen after undo: {step}")
                step.do(start)
    finally:
        os.kill(process, signal.SIGKILL)
        eventually(lambda: not os.path.exists(f"/proc/{process}/exe"))
        for step, look in reversed(done):
            step.undo(look)
    wrong += [f"seen at the end: {step}" for step, _ in done if type(step) not in OUTLIVE and step.seen(process)]
    assert wrong == []
    assert {path for path in tree(root.parent) - files if not path.startswith(("from", "root/.zocker"))} == set()


@pytest.mark.parametrize("kind", OUTLIVE, ids=name_of)
def test_what_is_the_hosts_outlives_undo(tmp_path: Path, kind: type[Step]) -> None:
    """The volume's directory and the unpacked image are seen after `do` and stay after `undo`."""
    if kind is steps.HostDirectory:
        step: Step = steps.HostDirectory(f"{tmp_path}/from/deep")
    else:
        (tmp_path / "tree" / "etc").mkdir(parents=True)
        subprocess.run(["tar", "-C", str(tmp_path / "tree"), "-cf", str(tmp_path / "image.tar"), "."], check=True)
        step = steps.UnpackImage(f"{tmp_path}/image.tar", f"{tmp_path}/image", f"{tmp_path}/.zocker")
    assert step.seen(0) == ""
    look = step.look()
    step.do(Start(["true"]))
    assert step.seen(0)
    step.undo(look)
    assert step.seen(0)


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


# stages diff


def test_diff_shows_what_a_chapter_adds() -> None:
    """Options, verbs, and steps with their lines of shell; the steps that both have stand between them unmarked."""
    done = stages("diff", "4.1", "4.2")
    assert (done.code, done.err) == (0, "")
    added = [line for line in done.lines if line.startswith("+ ")]
    assert any(line.startswith("+ Union: ") for line in added)
    assert any("$ mountpoint -q /root/mnt || mount -t overlay " in line for line in added)
    assert "  UnpackImage" in done.lines and "  Devices" in done.lines
    assert "Options of run: + -v" in stages("diff", "4.2", "4.3").out
    assert "Verbs: + exec" in stages("diff", "5.3", "5.4").out
    assert "The verb commit is another one: stage_commit/" in stages("diff", "5.6", "5.7").out


def test_diff_backwards_takes_away_and_of_the_same_shows_nothing() -> None:
    assert "Verbs: - exec" in stages("diff", "5.4", "5.3").out
    assert not [line for line in stages("diff", "5.4", "5.4").lines if line[:2] in ("+ ", "- ")]


@pytest.mark.parametrize("words", [["diff"], ["diff", "4.1"], ["diff", "4.1", "9.9"], ["diff", "4.1", "4.2", "4.3"]])
def test_diff_of_less_or_more_than_two_chapters_is_refused(words: list[str]) -> None:
    done = stages(*words)
    assert (done.code, done.out, done.err.count("\n")) == (125, "", 1)
