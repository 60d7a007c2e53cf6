"""The virtual machine's commands as far as they need none: their words, what they bring along, what they say when something lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import vm_push, vm_results
from harness.vm_errors import VMError
from harness.vm_lock import held
from tests.conftest import CHECKOUT, STAGES, Result, eventually

pytest.importorskip("vagrant", reason="the virtual machine's tests need python-vagrant: use ./bootstrap")

from harness import vm
from harness.vm_machine import in_one_line


def stages(*words: str, **environment: str) -> Result:
    """`stages` as a person calls it, without a terminal."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [STAGES, *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": path, **environment},
        timeout=60,
    )
    return Result(done.returncode, done.stdout, done.stderr)


# Words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["vm"], "vm takes one of its commands: stages vm up | shell [X] | reset | status | destroy"),
        (["vm", "fly"], "vm takes one of its commands: "),
        (["vm", "up", "now"], "vm takes one of its commands: "),
        (["vm", "shell", "9.9"], "there is no chapter '9.9': there are 3.1, "),
        (["vm", "shell", "4.2"], "vm shell needs a terminal: for a single command use `vagrant ssh -c 'CMD'`"),
        (["check", "9.9", "--vm"], "there is no chapter '9.9'"),
        (["check", "5.7", "--vm", "--subject", "./nosuch"], "./nosuch: there is no such program"),
        (["check", "5.7", "--vm", "--subject", "nosuch.toml"], "nosuch.toml: there is no such file"),
        (["check", "5.7", "--vm", "--junit", "/nosuch/report.xml"], "there is no directory /nosuch"),
        (["check", "--vm=yes"], "--vm takes no value"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(words: list[str], says: str) -> None:
    done = stages(*words)
    assert (done.code, done.out, done.err.count("\n")) == (125, "", 1), done
    assert says in done.err and done.err.startswith("stages")


def test_without_vagrant_it_says_what_to_do(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name != "vagrant":
            (tools / program.name).symlink_to(program)
    path = f"{Path(sys.executable).parent}:{tools}"
    for words in (["vm", "up"], ["vm", "status"], ["check", "5.7", "--vm"]):
        done = stages(*words, PATH=path)
        assert (done.code, done.out) == (125, ""), done
        assert done.err.splitlines()[-1].startswith("stages: there is no vagrant here: install it, or use ./bootstrap")
        assert "results" not in done.err


def test_without_python_vagrant_it_says_what_to_do(tmp_path: Path) -> None:
    """The checkout's own environment would be found: so it is a copy that has none."""
    copy = tmp_path / "copy"
    for name in ("stages", "harness", "bin", "tests/behaviours"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).symlink_to(CHECKOUT / name)
    code = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import harness.python as p\n"
        f"p.CHECKOUT = {str(copy)!r}; import stages.cli; sys.exit(stages.cli.main(['vm', 'up']))"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-IS", "-c", code], capture_output=True, text=True, env={"PATH": "/usr/bin"}, check=False
    )
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == (
        "stages: python-vagrant is not installed: use ./bootstrap, such as `./bootstrap stages vm up`, which does that\n"
    )


def test_what_is_for_us_and_what_is_for_the_checks_inside() -> None:
    asked = vm.understood(
        ["-k", "commit", "--keep", "--subjects=ours,mine.toml", "--junit", "a=b.xml", "--all", "--x=y"]
    )
    assert asked == vm.Words(["ours", "mine.toml"], ["-k", "commit", "--all", "--x=y"], "a=b.xml", True)
    with pytest.raises(VMError, match="--subject needs a value"):
        vm.understood(["--subject"])


# Vagrant's words


def test_the_reason_is_what_is_no_progress() -> None:
    printed = "==> default: Booting...\n    default: SSH address: 127.0.0.1:1\n/dev/kvm is\n  no device: use another\n"
    assert in_one_line(printed) == "/dev/kvm is no device: use another"
    assert in_one_line("==> default: Booting...\n") == "vagrant failed and did not say why"


# What is brought along


def test_a_learners_own_is_told_from_ours() -> None:
    assert [vm_push.is_own(name) for name in ("./mine", "mine.toml", "/x/y")] == [True] * 3
    assert [vm_push.is_own(name) for name in ("ours", "5.7", "stage_commit", "docker", "explained")] == [False] * 5


def test_a_subjects_file_brings_the_program_it_names_and_what_lies_beside_it(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "my project", tmp_path / "else where"
    for directory in (project / "bin", elsewhere):
        directory.mkdir(parents=True)
    for file in (project / "bin" / "mine", project / "bin" / "library", elsewhere / "main.py"):
        file.write_text("")
    toml = project / "mine.toml"
    toml.write_text(
        f"program = \"./bin/mine '{elsewhere}/main.py' /usr/bin/env\"\nclaims = '3.1'\n[places]\nlayer = '$ {{program}} where'\n"
    )
    assert set(vm_push.named_in(toml)) == {project / "bin" / "mine", elsewhere / "main.py"}
    assert vm_push.beside(project / "bin" / "mine") == project / "bin"


def test_what_is_large_or_the_systems_stays_here(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert vm_push.beside(tmp_path / "mine") == tmp_path
    with open(tmp_path / "large", "wb") as large:
        large.truncate(vm_push.LARGE + 1)
    assert vm_push.beside(tmp_path / "mine") is None
    for program in ("/usr/bin/env", "/root/mine", "/mine", f"{CHECKOUT}/mine", f"{CHECKOUT.parent}/mine"):
        assert vm_push.beside(Path(program)) is None


def test_a_broken_subjects_file_is_left_to_the_check(tmp_path: Path) -> None:
    for words in ("program = ", "claims = '3.1'", "program = 1", 'program = "\'"'):
        (tmp_path / "mine.toml").write_text(words)
        assert list(vm_push.named_in(tmp_path / "mine.toml")) == []


def test_the_checkout_is_another_one_after_a_change_and_not_after_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    first = vm_push.digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / ".vagrant").mkdir()
    os.utime(tmp_path, (0, 0))
    (tmp_path / ".vagrant" / "disk").write_text("x")
    assert vm_push.digest(tmp_path) == vm_push.digest(tmp_path)
    os.utime(tmp_path / "file", ns=(1, 1))
    assert vm_push.digest(tmp_path) != first


# Two at once


def test_the_second_waits_says_who_has_it_and_goes_on(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.vm_lock import held\n"
        "with held(Path(sys.argv[1]), print): print('mine', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    ) as other:
        assert other.stdout and other.stdin and other.stdout.readline() == "mine\n"
        said: list[str] = []

        def say(sentence: str) -> None:
            said.append(sentence)
            other.kill()  # a lock is free however its holder ends

        with held(tmp_path / "lock", say):
            eventually(lambda: other.poll() is not None)
        assert said == [
            f"waiting: the virtual machine is in use by another command (process {other.pid}); Ctrl-C gives up"
        ]


def test_several_may_have_it_when_they_share_it(tmp_path: Path) -> None:
    said: list[str] = []
    with held(tmp_path / "lock", said.append, shared=True), held(tmp_path / "lock", said.append, shared=True):
        assert said == []


# The page


def test_the_page_shows_each_check_and_a_failures_words_and_nothing_of_them_is_obeyed(tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()
    (tmp_path / "default" / "junit.xml").write_text(
        '<testsuites><testsuite><testcase name="one" time="1.25"/><testcase name="&lt;b&gt;two">'
        "<failure>&lt;script&gt; &amp; so</failure></testcase><testcase name='three'><skipped/></testcase></testsuite></testsuites>"
    )
    (tmp_path / "cut.xml").write_text("<testsuites><tests")
    (tmp_path / 'a "console"').write_text("")
    vm_results.write_page(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "1 passed, 1 failed, 1 skipped" in page
    assert "&lt;b&gt;two<pre>&lt;script&gt; &amp; so</pre>" in page and "<script" not in page
    assert "1.2 s" in page and "This was cut off." in page
    assert '<a href="default/junit.xml">' in page and '<a href="a &quot;console&quot;">' in page


def test_results_of_the_same_second_do_not_mix(tmp_path: Path) -> None:
    first, second = vm_results.directory(tmp_path), vm_results.directory(tmp_path)
    assert first != second and first.parent == second.parent == tmp_path / ".vagrant" / "results"


def test_a_bad_setting_is_told_in_our_words_and_not_in_vagrants_about_a_broken_file() -> None:
    said = "Vagrant failed to initialize.\n\nLine number: 51\nMessage: Slirp::Error: STAGES_MEMORY=abc is no number\n"
    assert in_one_line(said) == "STAGES_MEMORY=abc is no number"
