"""Engines: Docker and Podman really work in worlds and leave nothing on the machine; one that can't work says why."""

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import busybox, engines, init
from harness.choice import chosen
from harness.errors import WorldError
from harness.program import Program, eventually, fresh, long_sleep
from harness.subjects import CHECKOUT, Subject, SubjectError, find, load
from harness.tables import content, targets
from harness.world import World


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Subject:
    """The subject, if it is installed; in CI it has to be."""
    subject = find(request.param)
    if (sentence := engines.missing(subject)) and not os.environ.get("CI"):
        pytest.skip(sentence)
    assert not sentence
    return subject


@pytest.fixture
def program(engine: Subject, tmp_path: Path) -> Iterator[Program]:
    """The engine at work in a world, with the image."""
    busybox.build(tmp_path / "busybox.tar")
    with World() as world:
        world.copy_in(tmp_path / "busybox.tar", "/root/busybox.tar")
        engines.start(engine, world)
        yield Program(engine, world)


def test_an_engine_has_the_tutorials_verbs(program: Program) -> None:
    """Each of them, and the places that the engine has to be asked for."""
    name, image, token, command = fresh("bird"), fresh("image"), fresh(), long_sleep()
    assert program.run("echo", token).out == f"{token}\n"
    first = program.detach(*command, name=name)
    assert program.first(name) == first
    row = program.row(name)
    assert (row["PID"], row["STATUS"], row["COMMAND"]) == (str(first), "running", " ".join(command))
    assert program.exec(name, "sh", "-c", f"echo {token} >/{token}").code == 0
    assert content(program.layer(name) / token) == content(program.view(name) / token) == f"{token}\n"
    assert program.place("view", name=name) in targets(program.world)
    assert (program.image() / "bin" / "busybox").is_file() and not (program.image() / token).exists()
    assert program.commit(name, image).out == f"/root/{image}.tar\n"
    assert program.run("cat", f"/{token}", image=image).out == f"{token}\n"
    program.tarball(image).rename(program.tarball(f"{image}-2"))
    engines.load(program.subject, program.world, f"{image}-2")
    assert program.run("cat", f"/{token}", image=f"{image}-2").out == f"{token}\n"
    assert program.rm(name).code != 0
    assert program.stop(name).code == 0
    assert (program.row(name)["STATUS"], program.row(name)["PID"]) == ("stopped", "")
    assert program.rm(name).code == 0
    assert program.rows() == []


def test_a_foreground_container_is_ended_though_it_is_not_the_programs_child(program: Program) -> None:
    command = long_sleep()
    running = program.begin(*command)
    first = program.appeared(*command, runtime=running)
    began = time.monotonic()
    program.end(running)
    assert time.monotonic() - began < 5  # sleep as PID 1 would not hear a SIGTERM
    assert first not in program.containers()


def test_nothing_is_left_on_the_machine(engine: Subject, tmp_path: Path) -> None:
    """Engine, containers and all go with the world; the machine's own directories were never touched."""

    def machine() -> set[str]:
        """What of engines' lies where they put it, if it is not in a world."""
        places = [
            f"{directory}/{name}"
            for place in ("/etc", "/run", "/dev/shm")
            for directory, *names in os.walk(place)
            for name in itertools.chain(*names)
        ]
        places += [f"/var/lib/{name}" for name in os.listdir("/var/lib")]
        return {path for path in places if re.search("docker|container|podman|libpod|runc|netns|cni|engine", path)}

    busybox.build(tmp_path / "busybox.tar")
    before = machine()
    with World() as world:
        world.copy_in(tmp_path / "busybox.tar", "/root/busybox.tar")
        engines.start(engine, world)
        program = Program(engine, world)
        first = program.detach("top", name=fresh("bird"))
        assert program.containers() == {first}
        pids = [world.host_pid(process.pid) for process in world.processes()]
        group = world.subtree.name
        assert len(pids) > 2 and any(group in str(found) for found, _ in world.subtree.groups())
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 5)
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []
    assert [target for target, _ in init.cgroup_mounts() if Path(target, group).exists()] == []
    assert machine() == before


def test_checks_are_made_of_an_engine(engine: Subject) -> None:
    """As documented, or otherwise on purpose with the reason; and a machine can count them."""
    words = ["-m", "pytest", "-s", "-c", os.devnull, "-p", "no:terminal", "-p", "no:cacheprovider"]
    words += ["-p", "harness.plugin", "-p", "harness.report", "--subject", engine.name]
    words += ["--confcutdir", "tests/behaviours", "tests/behaviours/test_5_2_ps.py"]
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, *words], cwd=CHECKOUT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "  ✓ D14 " in done.stdout and "  ≠ D15 " in done.stdout
    assert f"differs: {engine.differences['D15']}" in done.stdout
    assert done.stdout.endswith("1 as documented ✓, 1 otherwise on purpose ≠\n1 passed, 0 failed, 1 skipped\n")


# Engines that can't work


def described(directory: Path, **keys: str) -> Path:
    """The file of a subject that has an engine."""
    file = directory / "mine.toml"
    engine = {"start": "sleep 1000", "ready": "true", "load": "true {tarball} {image}", **keys}
    lines = [f"{key} = {value!r}" for key, value in engine.items()]
    file.write_text("\n".join(['program = "/bin/true"', 'claims = "5.8"', "[engine]", *lines]))
    return file


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"start": "sh -c 'seq 9; echo the disk is full >&2; exit 1'"}, "mine has ended: 8 / 9 / the disk is full"),
        ({"start": "sh -c 'exit 1'"}, "mine has ended: it said nothing"),
        ({"start": "nosuchd --now"}, "nosuchd"),
        ({"ready": "sh -c 'exit 1'"}, "mine did not answer `sh -c 'exit 1'` within 0.3 s: it said nothing"),
        (
            {"load": "sh -c 'echo no room >&2; exit 1' {tarball} {image}"},
            "mine could not take the image from /root/busybox.tar: no room",
        ),
    ],
)
def test_an_engine_that_does_not_come_up_says_so_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], sentence: str
) -> None:
    """With its last words; and it is not waited for a second time."""
    monkeypatch.setattr(engines, "LIMIT", 0.3)
    monkeypatch.setattr(engines, "_broken", {})
    subject = load(described(tmp_path, **({"ready": "false"} | keys if "start" in keys else keys)))
    with World() as world, pytest.raises(WorldError) as failed:
        engines.start(subject, world)
    assert sentence in str(failed.value) and "\n" not in str(failed.value)
    with World() as world:
        with pytest.raises(WorldError) as again:
            engines.start(subject, world)
        assert str(again.value) == str(failed.value)
        assert [process.pid for process in world.processes()] == [1]


def test_an_engine_that_does_not_come_up_is_no_difference(tmp_path: Path) -> None:
    """It fails, whatever the subject's file says, in the words of the engine."""
    file = described(tmp_path, start="sh -c 'echo the disk is full; exit 1'", ready="false")
    file.write_text(file.read_text() + '\n[differences]\nD1 = "it runs nothing"\n')
    words = [sys.executable, "-m", "harness.check", "3.1", "--subject", str(file)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and done.stderr == ""
    assert "✗ D1 " in done.stdout and "≠" not in done.stdout
    assert "the engine of mine has ended: the disk is full" in done.stdout


def test_an_engine_that_is_not_installed_says_what_to_install(tmp_path: Path) -> None:
    file = described(tmp_path, needs="sh nosuchd", install="apt install nosuch.io")
    with pytest.raises(
        SubjectError, match=r"^mine needs nosuchd, not to be found on this machine: apt install nosuch\.io$"
    ):
        chosen([str(file)], "")


def test_a_program_that_is_not_installed_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('program = "nosuchdocker"\nclaims = "5.8"\n')
    with pytest.raises(SubjectError, match=r"^mine needs nosuchdocker, not to be found"):
        chosen([str(tmp_path / "mine.toml")], "")
