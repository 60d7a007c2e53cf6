"""The box of the virtual machine: what `build_box` does before and after the minute in which it really builds one.

Where a test lets it build, that minute's tools are replaced by stand-ins: `tox -e vm` has the real ones at work.
"""

import os
import re
import shutil
import signal
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, eventually

VAGRANT = CHECKOUT / "harness" / "vagrant"
SENTENCE = 125

# Of what mmdebstrap makes, a box takes three files.
STAND_IN = """#!/bin/sh
echo "$*" >>{calls}
[ "$1" = --unshare-helper ] || {{ {building}; }}
case "$2" in
    */disk) mkdir "$3/out" && cd "$3/out" && touch box.img vmlinuz initrd.img ;;
esac
"""


class Builder:
    """A copy of the recipe, and a cache and a place for temporary files of its own."""

    def __init__(self, directory: Path) -> None:
        self.recipe = directory / "a recipe"
        shutil.copytree(VAGRANT, self.recipe)
        self.cache, self.temporary, self.tools = directory / "cache", directory / "temporary", directory / "tools"
        self.temporary.mkdir()
        self.tools.mkdir()
        self.calls = directory / "calls"
        self.calls.touch()
        self.started: list[subprocess.Popen[str]] = []

    @property
    def boxes(self) -> Path:
        return self.cache / "stages" / "boxes"

    def settings(self, **environment: str) -> dict[str, Any]:
        path = f"{self.tools}:{os.environ['PATH']}"
        own = {"XDG_CACHE_HOME": str(self.cache), "TMPDIR": str(self.temporary), "PATH": path}
        return {
            "env": {**os.environ, **own, **environment},
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([self.recipe / "build_box", *words], timeout=60, **self.settings(**environment))

    def start(self) -> "subprocess.Popen[str]":
        self.started.append(subprocess.Popen([self.recipe / "build_box"], start_new_session=True, **self.settings()))
        return self.started[-1]

    def path(self) -> Path:
        return Path(self.run("--path").stdout.strip())

    def tool(self, name: str, text: str) -> None:
        """Put a program of this name first on PATH."""
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def stand_ins(self, building: str = ":") -> None:
        """Tools that need no network; `building` is what mmdebstrap does instead of making a system."""
        self.tool("mmdebstrap", STAND_IN.format(calls=self.calls, building=building))
        self.tool("python3", "#!/bin/sh\n")

    def left(self) -> list[str]:
        """What there is in the cache, but for the lock and the log, and in the place for temporary files."""
        return sorted(
            each.name for each in [*self.boxes.glob("*"), *self.temporary.iterdir()] if each.name not in ("lock", "log")
        )


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    made = Builder(tmp_path)
    yield made
    for each in made.started:
        if each.poll() is None:  # a test that failed
            os.killpg(each.pid, signal.SIGKILL)
            each.communicate()


# --- where it is ---


def test_path_says_where_the_box_would_be_and_makes_nothing(builder: Builder) -> None:
    done = builder.run("--path")
    assert re.fullmatch(rf"{re.escape(str(builder.boxes))}/[0-9a-f]{{16}}\.box\n", done.stdout), done
    assert not builder.cache.exists()


def test_a_relative_cache_directory_does_not_count(builder: Builder) -> None:
    done = builder.run("--path", XDG_CACHE_HOME="cache", HOME="/home/somebody")
    assert done.stdout.startswith("/home/somebody/.cache/stages/boxes/"), done


def test_the_same_recipe_elsewhere_is_the_same_box(builder: Builder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Builder(elsewhere)
    assert other.path().name == builder.path().name


@pytest.mark.parametrize("file", ["build_box", "box/packages", "box/requirements.txt", "box/root/etc/fstab"])
def test_a_changed_recipe_is_another_box(builder: Builder, file: str) -> None:
    before = builder.path()
    with open(builder.recipe / file, "a") as recipe:
        recipe.write("# changed\n")
    assert builder.path() != before


def test_a_file_that_came_to_the_recipe_is_another_box(builder: Builder) -> None:
    before = builder.path()
    (builder.recipe / "box" / "root" / "etc" / "issue").write_text("hello\n")
    assert builder.path() != before


def test_what_lies_beside_the_recipe_does_not_count(builder: Builder) -> None:
    before = builder.path()
    (builder.recipe / "plugin.rb").write_text("# another part of the project\n")
    assert builder.path() == before


# --- building ---


def test_a_box_that_is_there_is_not_built_again(builder: Builder) -> None:
    builder.stand_ins()
    box = builder.path()
    box.parent.mkdir(parents=True)
    box.touch()
    done = builder.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{box}\n", "")
    assert not builder.calls.read_text()


def test_a_box_holds_the_disk_and_the_kernel_that_boots_it(builder: Builder) -> None:
    builder.stand_ins()
    done = builder.run()
    assert (done.returncode, done.stdout) == (0, f"{builder.path()}\n"), done
    with tarfile.open(builder.path()) as box:
        assert box.getnames() == ["metadata.json", "Vagrantfile", "box.img", "vmlinuz", "initrd.img"]
    assert builder.left() == [builder.path().name]


def test_old_boxes_go_when_a_new_one_is_built(builder: Builder) -> None:
    builder.stand_ins()
    assert builder.run().returncode == 0
    old = builder.path()
    assert old.exists()
    with open(builder.recipe / "box" / "packages", "a") as packages:
        packages.write("hello\n")
    assert builder.run().returncode == 0
    assert builder.left() == [builder.path().name] != [old.name]


def test_of_two_at_once_one_builds_and_the_other_waits_and_uses_it(builder: Builder, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    builder.stand_ins(building=f"read -r line <{go}")
    first = builder.start()
    eventually(builder.calls.read_text)
    second = builder.start()
    assert second.stderr and "waiting for another build_box" in second.stderr.readline()
    go.write_text("go\n")
    ends = [each.communicate(timeout=60) for each in (first, second)]
    assert [out for out, _ in ends] == [f"{builder.path()}\n"] * 2, ends
    assert builder.calls.read_text().count("--variant") == 1


def test_ctrl_c_leaves_nothing(builder: Builder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    builder.stand_ins(building=f"exec cat {tmp_path}/never")
    building = builder.start()
    eventually(builder.calls.read_text)
    assert len(builder.left()) == 1
    os.killpg(building.pid, signal.SIGINT)
    building.communicate(timeout=60)
    assert building.returncode == 130
    assert builder.left() == []


def test_what_a_killed_one_left_in_the_cache_goes_with_the_next(builder: Builder) -> None:
    builder.stand_ins()
    builder.boxes.mkdir(parents=True)
    (builder.boxes / ".new.abcdef").touch()
    assert builder.run().returncode == 0
    assert builder.left() == [builder.path().name]


# --- bad input, in a sentence ---


def refused(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert (done.returncode, done.stdout) == (SENTENCE, ""), done
    last = done.stderr.splitlines()[-1]
    assert last.startswith("build_box: "), done
    assert all(word in last for word in words), done


def test_a_build_that_fails_says_why_and_leaves_nothing(builder: Builder) -> None:
    builder.stand_ins(building="echo 'E: the archive is on fire' >&2; exit 1")
    done = builder.run()
    refused(done, "mmdebstrap could not")
    assert "the archive is on fire" in done.stderr
    assert builder.left() == []


def test_missing_tools_are_named_with_how_to_get_them(builder: Builder) -> None:
    for tool in Path("/usr/bin").iterdir():
        if tool.name not in ("mmdebstrap", "qemu-img"):
            (builder.tools / tool.name).symlink_to(tool)
    refused(builder.run(PATH=str(builder.tools)), "sudo apt-get install", "mmdebstrap", "qemu-utils")
    assert not builder.cache.exists()


def test_another_architecture_is_refused(builder: Builder) -> None:
    builder.tool("uname", "#!/bin/sh\necho aarch64\n")
    refused(builder.run(), "aarch64", "STAGES_BOX")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


@pytest.mark.parametrize("place", ["XDG_CACHE_HOME", "TMPDIR"])
def test_too_little_room_is_told_before_anything_is_done(builder: Builder, small_disk: Path, place: str) -> None:
    builder.stand_ins()
    refused(builder.run(**{place: str(small_disk)}), "MiB", str(small_disk))
    assert builder.left() == []
    assert "--variant" not in builder.calls.read_text()


def test_a_cache_that_can_not_be_written_is_named(builder: Builder) -> None:
    builder.stand_ins()
    builder.cache.write_text("a file\n")
    refused(builder.run(), str(builder.boxes))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("mount -t tmpfs none /etc/apt", "/etc/apt"),
        ("echo ID=ubuntu >{tools}/release && mount --bind {tools}/release /etc/os-release", "ubuntu"),
    ],
)
def test_a_machine_without_a_debian_archive_is_told_the_way_out(builder: Builder, change: str, word: str) -> None:
    builder.stand_ins()
    changed = f'{change.format(tools=builder.tools)} && exec "$0"'
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", changed, builder.recipe / "build_box"]
    refused(subprocess.run(words, timeout=60, **builder.settings()), word, "STAGES_BOX")
    assert builder.left() == []


def test_other_words_are_not_understood(builder: Builder) -> None:
    done = builder.run("--pat")
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: build_box" in done.stderr


# --- the recipe ---


def chosen_sources(file: Path) -> list[str]:
    """What is taken from a file of apt's sources for a box of bookworm."""
    words = ["awk", "-v", "release=bookworm", "-f", VAGRANT / "box" / "sources.awk", file]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()


def test_of_sources_in_lines_debians_are_kept_as_they_are(tmp_path: Path) -> None:
    ours = [
        "deb http://mirror.example/debian bookworm main contrib",
        "deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg]\thttp://mirror.example/debian  bookworm-updates  main # x",
        "deb http://mirror.example/debian-security bookworm-security main",
    ]
    others = [
        "# deb http://mirror.example/debian bookworm main",
        "deb-src http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian bookworm-backports main",
        "deb https://engines.example/debian bookworm stable # main",
        "deb https://databases.example/apt bookworm-pgdg main",
    ]
    file = tmp_path / "a.list"
    file.write_text("\n".join([others[0], ours[0], *others[1:], *ours[1:]]) + "\n")
    assert chosen_sources(file) == ours


OURS = """Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 enabled=no
 -----END PGP PUBLIC KEY BLOCK-----
"""


@pytest.mark.parametrize(
    "other",
    [
        OURS.replace("Suites: bookworm\n bookworm-updates", "Suites: nodistro"),
        OURS.replace("Components: main contrib", "Components: stable"),
        OURS.replace("Types: deb deb-src", "Types: deb-src"),
        "Enabled: no\n" + OURS,
    ],
)
def test_of_sources_in_stanzas_debians_are_kept_as_they_are(tmp_path: Path, other: str) -> None:
    file = tmp_path / "a.sources"
    file.write_text(f"{other}\n\n{OURS}\n{other}")
    assert chosen_sources(file) == [*OURS.splitlines(), ""]


def test_the_box_has_all_python_packages_that_the_tests_need_in_exact_versions() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=~]", each)[0] for each in project["optional-dependencies"]["test"]}
    lines = (VAGRANT / "box" / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert needed <= set(pinned)
