"""Bad input: one sentence on standard error, exit code 125, nothing done."""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, STAGES, Result, Stage, eventually

Chapter = Callable[[str], Stage]


def one_sentence(result: Result, code: int = 125) -> Result:
    """Exactly one line on standard error, no traceback, nothing on standard output, the runtime's exit code."""
    assert result.code == code, result
    assert result.err.count("\n") == 1 and result.err.endswith("\n") and len(result.err) > 20, result
    assert "Traceback" not in result.err and "Error:" not in result.err and result.out == "", result
    assert result.err.rstrip("\n").isprintable(), result
    return result


def machine(ours: Path) -> tuple[set[str], list[str], set[str]]:
    """Files below `ours` with size and time, mounts there, and our control groups' parents."""
    files = set()
    for here, names, leaves in os.walk(ours):
        files |= {os.path.join(here, name) for name in names}
        for name in leaves:
            status = os.lstat(os.path.join(here, name))
            files.add(f"{here}/{name} {status.st_size} {status.st_mtime_ns} {status.st_ino}")
    lines = Path("/proc/self/mountinfo").read_text().split("\n")
    mounts = sorted(line.split(" ")[4] for line in lines if str(ours) in line)
    groups = {str(path) for path in Path("/sys/fs/cgroup").glob("*/zocker/*")}
    return files, mounts, groups


def unpacking(root: Path) -> "list[str]":
    """What unpacking images has left half-made or replaced."""
    return [str(path) for name in ("unpack", "old") for path in (root / ".zocker" / name).glob("*")]


@pytest.fixture
def busy(stage: Chapter) -> Stage:
    """Chapter 5.8 with one running container, `one`, and one stopped, `still`."""
    zocker = stage("5.8")
    assert zocker("run", "-d", "--name", "one", "busybox", "sleep", "1000").code == 0
    assert zocker("run", "-d", "--name", "still", "busybox", "sleep", "1000").code == 0
    assert zocker("stop", "still").code == 0
    return zocker


def nothing_done(zocker: Stage, *commands: "list[str]") -> "list[Result]":
    """Do them, and see that each was refused in a sentence and that together they have changed nothing."""
    before = machine(zocker.root.parent)
    results = [one_sentence(zocker(*words)) for words in commands]
    files, mounts, groups = machine(zocker.root.parent)
    assert (files, mounts) == before[:2], commands
    mine = [line.split("/zocker/")[-1] for line in Path(f"/proc/{zocker.pid('one')}/cgroup").read_text().splitlines()]
    assert any(any(group.endswith(name) for name in mine) for group in groups)
    os.kill(zocker.pid("one"), 0)
    return results


UNKNOWN = [
    ["nosuchverb"],
    ["network", "create"],
    ["--nosuch", "ps"],
    [""],
    ["run"],
    ["run", "busybox"],
    ["run", "busybox", ""],
    ["run", "-d"],
    ["run", "--name"],
    ["run", "-v"],
    ["run", "--", "busybox"],
    ["run", "nosuch", "true"],
    ["run", "-d", "nosuch", "true"],
    ["run", "--nosuch", "busybox", "true"],
    ["run", "-nosuch=1", "busybox", "true"],
    ["run", "-d=true", "busybox", "true"],
    ["run", "-ti", "-d", "busybox", "true"],
    ["run", "-d", "-it", "busybox", "true"],
    ["run", "-t", "-d", "busybox", "true"],
    ["run", "--name", "one", "busybox", "true"],
    ["run", "--name", "still", "busybox", "true"],
    ["exec"],
    ["exec", "one"],
    ["exec", "nosuch", "true"],
    ["exec", "still", "true"],
    ["exec", "--nosuch", "one", "true"],
    ["stop"],
    ["stop", "nosuch"],
    ["stop", "one", "nosuch"],
    ["stop", "-t", "soon", "one"],
    ["stop", "-t", "-1", "one"],
    ["stop", "-t", "1.5", "one"],
    ["stop", "-t", "9" * 30, "one"],
    ["stop", "-t"],
    ["rm"],
    ["rm", "nosuch"],
    ["rm", "one"],
    ["rm", "still", "one"],
    ["rm", "still", "nosuch"],
    ["rm", "-f", "one", "nosuch"],
    ["rm", "-x", "one"],
    ["logs"],
    ["logs", "nosuch"],
    ["logs", "one", "still"],
    ["logs", "-x", "one"],
    ["commit"],
    ["commit", "one"],
    ["commit", "nosuch", "image"],
    ["commit", "one", "image", "more"],
    ["commit", "-x", "one", "image"],
    ["ps", "one"],
    ["ps", "-a"],
]


def test_unknown_and_missing_things_are_refused(busy: Stage) -> None:
    """Unknown verb, container, image, option; missing command or name; -ti with -d."""
    for words in UNKNOWN:
        nothing_done(busy, words)


@pytest.mark.parametrize(
    "words", [["run", "9.9", "--", "ps"], ["run", "", "--", "ps"], ["run"], ["show", "9.9"], ["tour", "nosuch"]]
)
def test_an_unknown_stage_is_refused(stage: Chapter, words: "list[str]") -> None:
    """`stages run 9.9`."""
    done = subprocess.run([STAGES, *words], capture_output=True, text=True, env=stage("5.8").environment, timeout=20)
    one_sentence(Result(done.returncode, done.stdout, done.stderr))


def test_a_verb_of_a_later_chapter_is_unknown_before_it(stage: Chapter) -> None:
    """4.3 has no commit, 5.1 no ps; the sentence tells what there is."""
    for chapter, verb in (("3.1", "ps"), ("4.3", "commit"), ("5.1", "ps"), ("5.3", "exec"), ("5.5", "rm")):
        assert "no verb" in one_sentence(stage(chapter)(verb, "x")).err
    for chapter, option in (("3.1", "-m"), ("4.2", "-v"), ("4.4", "-d"), ("5.1", "--name"), ("5.7", "-e")):
        one_sentence(stage(chapter)("run", option, "x", "busybox", "true"))


NO_NAMES = [
    "",
    " ",
    ".",
    "..",
    "../../x",
    "/x",
    "a/b",
    "a b",
    "a\nb",
    "a\n",
    "\x1b[31m",
    "-x",
    "_x",
    ".x",
    "é",
    "x" * 65,
    "a:b",
]


def test_a_name_outside_the_rule_is_refused(busy: Stage) -> None:
    """[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}, and nothing else: `..`, blanks, newlines, 65 letters, a leading dash.

    Defect 3: `--name ..` emptied the state directory's parent; the same for image names and commit targets.
    """
    for name in [*NO_NAMES, "\udcff"]:
        nothing_done(
            busy,
            ["run", "-d", "--name", name, "busybox", "true"],
            ["run", f"--name={name}", "busybox", "true"],
            ["run", "--", name, "true"],
            ["commit", "--", "one", name],
            ["commit", "--", name, "image"],
            ["exec", "--", name, "true"],
            *([*verb, "--", name] for verb in (["stop"], ["rm"], ["rm", "-f"], ["logs"])),
        )
    assert busy("rm", "-f", "one").code == 0


BAD_VALUES = [
    *(
        ("-v", value)
        for value in ("", "/a", ":", "/a:", ":/b", "a:/b", "/a:b", "/a:/b:ro", "/a:/b:/c", "/a:/..", "/a:/../b")
    ),
    *(("-v", value) for value in ("/a:/b/..", "/a:/", "/a:/proc", "/a:/dev/x", "/a\n:b", "\x1b[31m")),
    *(("-m", "lots"), ("-cpushare", "many"), ("-cpuset", "x")),  # more of these: tests/defects/test_limits.py
    *(("-e", value) for value in ("", "A", "=", "=x", "A\nB", "\x1b[31m")),
]


def test_a_bad_value_is_refused(busy: Stage) -> None:
    """Bad -v, -m, -cpushare, -cpuset, -e.  Defect 19: a bad -v was logged, and the container ran without its volume."""
    for option, value in BAD_VALUES:
        apart, joined = ["-d", option, value], [f"-{option}={value}"]
        commands = [["run", *options, "busybox", "true"] for options in (apart, joined)]
        assert all(option in result.err for result in nothing_done(busy, *commands))
    assert not Path("/a").exists() and not Path("/b").exists()


def test_a_bad_root_or_state_is_refused(stage: Chapter) -> None:
    """ZOCKER_ROOT and ZOCKER_STATE are absolute paths of one line."""
    zocker = stage("5.8")
    for variable in ("ZOCKER_ROOT", "ZOCKER_STATE"):
        for value in ("relative", "./x", "/a\nb"):
            one_sentence(zocker("run", "busybox", "true", env={variable: value}))
    file = zocker.root / "file"
    file.write_text("no directory")
    one_sentence(zocker("run", "busybox", "true", env={"ZOCKER_ROOT": str(file)}))
    one_sentence(zocker("run", "--name", "x", "busybox", "true", env={"ZOCKER_STATE": f"{file}/x"}))
    assert not (zocker.root / "mnt").exists() and file.read_text() == "no directory"


ODD_PATHS = [
    "with blank",
    "co:lon",
    "com,ma",
    "back\\slash",
    "a\\,b\\:c",
    "quo'te\"s",
    "\\040",
    "é",
    "tab\t",
    "#hash",
    "=x,upperdir=y",
]


@pytest.mark.parametrize("odd", ODD_PATHS)
def test_a_root_with_an_odd_path_works_like_any_other(tmp_path: Path, odd: str) -> None:
    """Blanks, colons, commas and backslashes in ZOCKER_ROOT and ZOCKER_STATE."""
    zocker = Stage("5.8", tmp_path / odd / "root", tmp_path / odd / "state")
    zocker.root.mkdir(parents=True)
    try:
        volume = tmp_path / odd.replace(":", "") / "volume"
        options = ["-v", f"{volume}:/v"]
        done = zocker(
            "run", "-d", "--name", "one", *options, "busybox", "sh", "-c", "echo x >/v/file; echo y >/own; sleep 1000"
        )
        assert done.code == 0, done
        eventually((zocker.root / "writeLayer/one/own").exists)
        assert (volume / "file").read_text() == "x\n"
        assert zocker("commit", "one", "image").out == f"{zocker.root}/image.tar\n"
        assert zocker("run", "image", "cat", "/own", "/v/file").out == "y\nx\n"
        assert zocker("exec", "one", "cat", "/own").out == "y\n"
        assert zocker("stop", "one").code == 0 and zocker("rm", "one").code == 0
        assert not (zocker.root / "mnt").exists() and not zocker.state.exists()
    finally:
        subprocess.run([STAGES, "reset"], env=zocker.environment, check=True, capture_output=True)


def test_closed_streams_change_no_exit_code(stage: Chapter) -> None:
    """`<&-`, `>&-`, `2>&-`: who can't be told is not told, and nothing else changes."""
    zocker = stage("5.8")
    for words, code in ((["run", "busybox", "sh", "-c", "exit 7"], 7), (["run", "nosuch", "true"], 125), (["ps"], 0)):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            done = subprocess.run(
                ["sh", "-c", f'"$@" {closed}', "sh", *zocker.command(*words)],
                env=zocker.environment, capture_output=True, text=True, timeout=20,
            )  # fmt: skip
            assert (done.returncode, "Traceback" in done.stderr) == (code, False), (words, closed, done)
    assert not (zocker.root / "mnt").exists()


# --- images ------------------------------------------------------------------------------------------------------


def tar_with(*members: "tuple[str, bytes, str]") -> bytes:
    """A tar of members (name, type, link target), each regular one with some content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, target, 0o755
            content = b"evil" if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


BAD_TARS = {
    "empty": b"",
    "noise": bytes(range(256)) * 40,
    "text": b"this is not a tar\n" * 1000,
    "no member": tar_with(),
    "dot dot": tar_with(("bin", tarfile.DIRTYPE, ""), ("../outside", tarfile.REGTYPE, "")),
    "deep dot dot": tar_with(("bin/../../../outside", tarfile.REGTYPE, "")),
    "absolute": tar_with(("/{root}/outside", tarfile.REGTYPE, "")),
    "absolute directory": tar_with(("/outside", tarfile.DIRTYPE, "")),
    "hard link out": tar_with(("shadow", tarfile.LNKTYPE, "../../../../../../etc/shadow")),
    "absolute hard link": tar_with(("shadow", tarfile.LNKTYPE, "/etc/shadow")),
    "hard link to nothing": tar_with(("shadow", tarfile.LNKTYPE, "etc/nosuch")),
    "hard link through a link": tar_with(
        ("etc", tarfile.SYMTYPE, "/etc"), ("shadow", tarfile.LNKTYPE, "../etc/shadow")
    ),
}


@pytest.mark.parametrize("kind", BAD_TARS)
def test_a_bad_tarball_is_refused_and_leaves_no_image(busy: Stage, kind: str) -> None:
    """Not a tar, or with `../`, absolute members, hard links that lead out: no half-made image stays."""
    outside = [
        Path("/outside"),
        busy.root / "outside",
        busy.root / ".zocker/outside",
        busy.root / ".zocker/old/outside",
    ]
    (busy.root / "image.tar").write_bytes(BAD_TARS[kind])
    one_sentence(busy("run", "image", "true"))  # the first run may make the directories in which it works
    nothing_done(busy, ["run", "image", "true"])
    assert not (busy.root / "image").exists() and unpacking(busy.root) == []
    assert not any(path.exists() for path in outside)
    assert os.stat("/etc/shadow").st_nlink == 1


def test_a_truncated_tarball_is_refused_wherever_it_was_cut(busy: Stage) -> None:
    """Cut in a header, in a file's content, before the end mark; packed by gzip or not."""
    import gzip

    plain = (busy.root / "busybox.tar").read_bytes()
    packed = gzip.compress(plain, 1)
    for whole, cuts in (
        (plain, (100, 511, 700, 5000, 1 << 20, len(plain) - 2000)),
        (packed, (5, 100, 1 << 18, len(packed) - 4)),
    ):
        for cut in cuts:
            (busy.root / "image.tar").write_bytes(whole[:cut])
            one_sentence(busy("run", "image", "true"))
            assert not (busy.root / "image").exists() and unpacking(busy.root) == []
    (busy.root / "image.tar").write_bytes(packed)
    assert busy("run", "image", "echo", "whole").lines == ["whole"]


def test_links_in_a_tarball_write_nothing_outside(busy: Stage) -> None:
    """Absolute symlinks are ordinary in an image and stay; nothing is written through them."""
    outside = busy.root.parent / "outside"
    outside.mkdir()
    evil = tar_with(
        ("l1", tarfile.SYMTYPE, str(outside)),
        ("l1/file", tarfile.REGTYPE, ""),
        ("l2", tarfile.SYMTYPE, "../" * 20 + str(outside)[1:]),
        ("l2/file", tarfile.REGTYPE, ""),
        ("l3", tarfile.SYMTYPE, str(outside / "new")),
        ("l3", tarfile.REGTYPE, ""),
        ("d", tarfile.DIRTYPE, ""),
        ("d/up", tarfile.SYMTYPE, ".."),
        ("d/up/up2", tarfile.SYMTYPE, str(outside)),
        ("d/up/up2/file", tarfile.REGTYPE, ""),
    )
    (busy.root / "image.tar").write_bytes(evil)
    done = busy("run", "image", "/bin/true")
    assert done.code in (125, 127), done  # there is no /bin/true in it
    assert os.listdir(outside) == []


def test_the_last_good_copy_of_an_image_stays_when_its_tarball_goes_bad(busy: Stage) -> None:
    """A damaged tarball in the place of a good one is refused; a good one is taken again."""
    good = (busy.root / "busybox.tar").read_bytes()
    (busy.root / "busybox.tar").write_bytes(good[:5000])
    one_sentence(busy("run", "busybox", "true"))
    assert busy("exec", "one", "echo", "alive").lines == ["alive"]
    assert (busy.root / "busybox/bin/busybox").exists()
    (busy.root / "busybox.tar").write_bytes(good)
    assert busy("run", "busybox", "echo", "good").lines == ["good"]


# --- a full disk ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Stage]:
    """Chapter 5.8 on a disk of 12 MB of its own, with the busybox image unpacked on it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "smalldisk", str(disk)], check=True)
    zocker = Stage("5.8", disk / "root", disk / "state")
    zocker.root.mkdir()
    try:
        assert zocker("run", "busybox", "true").code == 0
        yield zocker
        (disk / "filler").unlink(missing_ok=True)
    finally:
        (disk / "filler").unlink(missing_ok=True)
        subprocess.run([STAGES, "reset"], env=zocker.environment, check=False, capture_output=True)
        subprocess.run(["umount", str(disk)], check=True)


def fill(zocker: Stage, leave: int) -> None:
    """Fill the disk up to `leave` bytes."""
    filler = zocker.root.parent / "filler"
    free = os.statvfs(zocker.root)
    size = free.f_bavail * free.f_frsize - leave
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


@pytest.mark.parametrize("leave", [0, 65536, 1 << 20])
def test_a_full_disk_during_commit_leaves_the_old_image_whole(small: Stage, leave: int) -> None:
    """The old image stays whole, the container goes on, and there is no rest of the new one."""
    assert (
        small("run", "-d", "--name", "one", "busybox", "sh", "-c", "echo old >/file; while :; do sleep 0.02; done").code
        == 0
    )
    eventually((small.root / "writeLayer/one/file").exists)
    assert small("commit", "one", "image").code == 0
    before = (small.root / "image.tar").read_bytes()
    files = machine(small.root)[0]
    fill(small, leave)
    one_sentence(small("commit", "one", "image"))
    one_sentence(small("commit", "one", "other"))
    assert (small.root / "image.tar").read_bytes() == before
    assert machine(small.root)[0] == files
    groups = [line.split(":", 2)[2] for line in Path(f"/proc/{small.pid('one')}/cgroup").read_text().splitlines()]
    for group in {group for group in groups if "/zocker/" in group}:
        for frozen in Path("/sys/fs/cgroup").glob(f"*{group}/cgroup.events"):
            assert "frozen 0" in frozen.read_text()
    assert small("exec", "one", "cat", "/file").out == "old\n"


@pytest.mark.parametrize("leave", [0, 4096, 1 << 20])
def test_a_full_disk_during_unpacking_leaves_the_old_copy_whole(small: Stage, leave: int) -> None:
    """The unpacked copy of the old image is still there when the new one has no room."""
    image = small.root / "busybox.tar"
    with tarfile.open(image, "a") as tar:
        big = tarfile.TarInfo("big")
        big.size = 2 << 20
        tar.addfile(big, io.BytesIO(os.urandom(big.size)))
    fill(small, leave)
    one_sentence(small("run", "busybox", "true"))
    assert (small.root / "busybox/bin/busybox").stat().st_size > 1 << 19 and not (small.root / "busybox/big").exists()
    assert unpacking(small.root) == [] and not (small.root / "mnt").exists()
    (small.root.parent / "filler").unlink()
    assert small("run", "busybox", "ls", "/big").lines == ["/big"]


def test_a_full_disk_before_anything_is_written_is_one_sentence(small: Stage) -> None:
    """Journal, record and layer don't fit: refused, undone, and the name is free."""
    for leave in (0, 4096, 8192, 16384, 32768):
        fill(small, leave)
        done = small("run", "--name", "one", "busybox", "true")
        assert done.code == 0 or one_sentence(done)
        assert os.listdir(small.root / ".zocker/containers") == [] and not small.state.exists()
        assert not (small.root / "mnt").exists() and not (small.root / "writeLayer").exists()
        (small.root.parent / "filler").unlink()
    assert small("run", "--name", "one", "busybox", "true").code == 0


# --- who is not root --------------------------------------------------------------------------------------------------


def test_who_is_not_root_is_told_so(tmp_path: Path, root: Path, state: Path) -> None:
    """Every verb says in one sentence that it needs root; help needs none."""
    place = Path(tempfile.mkdtemp(prefix="stages-"))  # tmp_path is closed to others
    try:
        place.chmod(0o755)
        leave_out = shutil.ignore_patterns("__pycache__", "tests", ".*")
        for name in ("bin", *(entry.name for entry in CHECKOUT.glob("stage*") if entry.is_dir())):
            shutil.copytree(CHECKOUT / name, place / name, ignore=leave_out)
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(place / "bin/stages")]
        environment = {**os.environ, "ZOCKER_ROOT": str(root), "ZOCKER_STATE": str(state)}

        def call(*words: str) -> Result:
            done = subprocess.run([*as_nobody, *words], capture_output=True, text=True, env=environment, timeout=20)
            return Result(done.returncode, done.stdout, done.stderr)

        for line in ("run busybox true", "ps", "logs x", "exec x true", "stop x", "rm x", "commit x y"):
            assert "needs root" in one_sentence(call("run", "5.8", "--", *line.split())).err
        assert "needs root" in one_sentence(call("reset")).err
        helped = call("run", "5.8", "--", "--help")
        assert helped.code == 0 and "CONTAINER IMAGE" in helped.out
        assert os.listdir(root) == [] and not state.exists()
    finally:
        shutil.rmtree(place)
