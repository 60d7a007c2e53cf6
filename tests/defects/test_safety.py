"""Defects 1 to 7 of the tutorial's programs: what let a command, a name or a volume reach the host."""

import os
import secrets
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.kernel import busybox
from tests.conftest import Result, Stage, eventually

Chapter = Callable[[str], Stage]

GIVEN_ENVIRONMENT = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
}


def make_image(root: Path, name: str, **links: str) -> None:
    """The busybox image under another name, with symbolic links added or put in the place of directories."""
    root.mkdir(exist_ok=True)
    busybox.build(str(root / f"{name}.tar"))
    add(root / f"{name}.tar", [link(path.replace("__", "/"), target) for path, target in links.items()])


def link(path: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def add(tarball: Path, members: "list[tarfile.TarInfo]") -> None:
    with tarfile.open(tarball, "a") as tar:
        for member in members:
            tar.addfile(member)


def refused(result: Result, code: int = 125) -> Result:
    """The program refused: that exit code, one sentence, nothing on standard output."""
    assert result.code == code, result
    assert result.err.count("\n") == 1 and result.err.endswith("\n"), result
    assert "Traceback" not in result.err and len(result.err) > 20, result
    assert result.out == "", result
    return result


def contents(*directories: Path) -> set[str]:
    """Every path below the directories, of files with their size and the time of their last change."""
    found = set()
    for directory in directories:
        for here, names, files in os.walk(directory):
            found |= {os.path.join(here, name) for name in names}
            for name in files:
                status = os.lstat(os.path.join(here, name))
                found.add(f"{here}/{name} {status.st_size} {status.st_mtime_ns}")
    return found


def mounted(ours: Path) -> list[str]:
    """Where something is mounted on the host; what tests that run at the same moment have mounted is left out."""
    targets = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().split("\n") if line]
    return [
        target for target in targets if target.startswith(str(ours)) or not target.startswith(tempfile.gettempdir())
    ]


def mounted_outside(root: Path) -> list[str]:
    """Like `mounted`, without what is below the root."""
    return [target for target in mounted(root.parent) if not target.startswith(f"{root}/")]


@pytest.fixture
def host_mount(tmp_path: Path) -> Iterator[Path]:
    """A file system of the host's, which no container may take away."""
    place = tmp_path / "host" / "disk"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "hostdisk", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=False, capture_output=True)


# --- 1: exec ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stopped", "ended by itself", "unknown", "removed"])
def test_exec_into_a_container_that_does_not_run_runs_nothing(stage: Chapter, tmp_path: Path, how: str) -> None:
    """Defect 1: exec into a stopped or unknown container ran the command on the host."""
    zocker, token = stage("5.8"), tmp_path / secrets.token_hex(8)
    if how != "unknown":
        assert zocker("run", "-d", "--name", "one", "busybox", "sleep", "1000").code == 0
        witness = zocker("exec", "one", "sh", "-c", f"mkdir -p {tmp_path} && touch {token} && ls {token}")
        assert witness.code == 0 and witness.lines == [str(token)]
    if how == "stopped" or how == "removed":
        assert zocker("stop", "-t", "0", "one").code == 0
    if how == "ended by itself":
        os.kill(zocker.pid("one"), 9)
        eventually(lambda: "exited" in zocker("ps").out)
    if how == "removed":
        assert zocker("rm", "one").code == 0
    refused(zocker("exec", "one", "touch", str(token)))
    assert not token.exists()


# --- 2: pivot_root ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", ["4.1", "5.8"])
def test_when_pivot_root_fails_the_command_does_not_run(
    stage: Chapter, root: Path, tmp_path: Path, chapter: str
) -> None:
    """Defect 2: a failed pivot_root was only logged, and the command ran on the host's root."""
    program, token = stage(chapter), tmp_path / secrets.token_hex(8)
    words = ["run", *(["busybox"] if chapter == "5.8" else []), "touch", str(token)]
    assert program(*words).code == 1  # the directory is not in the container: so far does an ordinary run get
    before = contents(root)
    fault = ["strace", "-f", "-o", "/dev/null", "-e", "trace=pivot_root", "-e", "inject=pivot_root:error=EINVAL"]
    done = subprocess.run(
        [*fault, *program.command(*words)], env=program.environment, capture_output=True, text=True, timeout=30
    )
    assert "pivot_root" in refused(Result(done.returncode, done.stdout, done.stderr)).err
    assert not token.exists()
    assert contents(root) == before


CALLS = "setsid unshare mount:when=1 mount:when=2 mount:when=3 mount:when=4 umount2 chdir:when=1 chdir:when=2 mknodat symlink"
CALLS += " sethostname prctl dup2 chmod"


@pytest.mark.parametrize("call", CALLS.split())
def test_whatever_fails_on_the_way_in_the_command_does_not_run(
    stage: Chapter, root: Path, state: Path, tmp_path: Path, call: str
) -> None:
    """Defect 2: a step that fails between fork and exec ends the child; nothing falls through to the host."""
    zocker, token = stage("5.8"), tmp_path / secrets.token_hex(8)
    assert zocker("run", "busybox", "true").code == 0
    before, mounts_before = contents(root, state), mounted(tmp_path)
    name, _, when = call.partition(":")
    inject = f"inject={name}:error=EPERM" + (f":{when}" if when else "")
    fault = ["strace", "-f", "-o", str(tmp_path / "trace"), "-e", f"trace={name}", "-e", inject]
    done = subprocess.run(
        [*fault, *zocker.command("run", "-v", f"{tmp_path}/h:/v", "busybox", "touch", str(token))],
        env=zocker.environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "INJECTED" in (tmp_path / "trace").read_text(), "the fault did not happen: the test tests nothing"
    refused(Result(done.returncode, done.stdout, done.stderr))
    assert not token.exists()
    if call == "umount2":  # the runtime's own umount failed as well: what is left is known, and can be taken away
        environment = zocker.environment
        subprocess.run([zocker.command()[0], "reset"], env=environment, check=True, capture_output=True)
    assert contents(root, state) == before and mounted(tmp_path) == mounts_before


def test_an_image_that_holds_dot_pivot_root_runs_in_its_own_root(stage: Chapter, root: Path) -> None:
    """Defect 2: an image holding /.pivot_root was enough to make pivot_root fail."""
    make_image(root, "odd")
    directory = tarfile.TarInfo(".pivot_root")
    directory.type, directory.mode = tarfile.DIRTYPE, 0o755
    inner = tarfile.TarInfo(".pivot_root/file")
    add(root / "odd.tar", [directory, inner])
    listing = stage("5.8")("run", "odd", "ls", "-a", "/", "/.pivot_root")
    assert listing.code == 0, listing
    assert listing.lines[-1] == "file" and ".pivot_root" in listing.lines and "bin" in listing.lines
    assert "boot" not in listing.lines


# --- 3: names --------------------------------------------------------------------------------------------


def test_names_at_the_edge_of_what_is_allowed_work(stage: Chapter) -> None:
    """Defect 3, the other side: what the rule allows is taken."""
    for name in ("a", "0", "A_b.c-d", "a" * 64, "a..b", "con.tar"):
        assert stage("5.8")("run", "--name", name, "busybox", "hostname").lines == [name]


def test_the_roots_own_directories_are_no_images(stage: Chapter, root: Path) -> None:
    """Defect 3: an image called mnt would be unpacked over the mount points of all containers."""
    zocker = stage("5.8")
    assert zocker("run", "-d", "--name", "one", "busybox", "top").code == 0
    for name in ("mnt", "writeLayer"):
        refused(zocker("run", name, "true"))
        refused(zocker("commit", "one", name))
        assert not (root / f"{name}.tar").exists()


def test_a_name_in_use_in_another_root_leaves_that_containers_record(
    stage: Chapter, state: Path, tmp_path: Path
) -> None:
    """Defect 3: a run that is refused removes nothing of the container whose name it wanted."""
    zocker = stage("5.8")
    assert zocker("run", "-d", "--name", "one", "busybox", "sh", "-c", "echo said; sleep 1000").code == 0
    eventually(lambda: zocker("logs", "one").out == "said\n")
    other = Stage("5.8", tmp_path / "other", state)
    refused(other("run", "-d", "--name", "one", "busybox", "true"))
    assert sorted(os.listdir(state / "one")) == ["config.json", "container.log"]
    assert zocker("logs", "one").out == "said\n"


# --- 4: volumes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["/../x", "/a/../../x", "/..", "/", "//", "/.", "relative", "", "/proc", "/proc/x", "/dev/y"]
)
def test_a_volume_cannot_be_asked_out_of_the_root(stage: Chapter, root: Path, tmp_path: Path, target: str) -> None:
    """Defect 4: a volume's container path with `..` mounted on the host."""
    before, mounts_before = contents(tmp_path), mounted(tmp_path)
    refused(stage("5.8")("run", "-v", f"{tmp_path}/host:{target}", "busybox", "true"))
    assert mounted(tmp_path) == mounts_before
    assert contents(tmp_path) == before


LINKS = [
    ("etc", "/etc"),
    ("/etc", "/etc"),
    ("../../..", ""),
    ("../../../etc", "/etc"),
    ("/proc/self/root/etc", ""),
    ("/", ""),
    ("{outside}", ""),
    ("nowhere/at/all", ""),
    ("loop", ""),
    ("proc/1/root", ""),
]


@pytest.mark.parametrize(("target", "inside"), LINKS)
def test_a_link_in_the_image_does_not_lead_a_volume_out(
    stage: Chapter, root: Path, tmp_path: Path, target: str, inside: str
) -> None:
    """Defect 4: through a symlink in the image the volume was mounted on the host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("of the host")
    make_image(root, "linked", link=target.format(outside=outside))
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "token").write_text("here")
    zocker = stage("5.8")
    for words in (["link"], ["link/sub"]):
        before = mounted_outside(root)
        done = zocker("run", "-d", "--name", "one", "-v", f"{volume}:/{words[0]}", "linked", "sleep", "1000")
        below = [line for line in mounted(tmp_path) if line.startswith(f"{root}/mnt/one/")]
        assert mounted_outside(root) == before
        if done.code:
            refused(done)
            assert below == []
        else:
            assert len(below) == 1 and (Path(below[0]) / "token").read_text() == "here"
            assert zocker("exec", "one", "cat", f"/{words[0]}/token").out == "here"
            assert zocker("rm", "-f", "one").code == 0
        assert inside != "" or words != ["link"] or done.code == 125, done
    assert sorted(os.listdir(outside)) == ["precious"]
    assert (volume / "token").read_text() == "here"
    assert mounted(tmp_path) == mounted_outside(root)


def test_a_container_cannot_lead_the_umount_of_its_volume_astray(stage: Chapter, root: Path, tmp_path: Path) -> None:
    """Defects 4 and 7: it renames the directory above its volume and puts a symlink to the host's there."""
    volume, decoy = tmp_path / "volume", tmp_path / "decoy"
    volume.mkdir()
    (decoy / "v").mkdir(parents=True)
    (decoy / "v" / "precious").write_text("of the host")
    (volume / "token").write_text("of the host")
    zocker = stage("5.8")
    assert zocker("run", "-d", "--name", "one", "-v", f"{volume}:/a/v", "busybox", "sleep", "1000").code == 0
    swap = zocker("exec", "one", "sh", "-c", f"mv /a /b && ln -s {decoy} /a && ls -l /a && ls /b/v")
    assert swap.code == 0 and "token" in swap.out
    before = mounted_outside(root)
    assert zocker("stop", "one").code == 0
    assert zocker("rm", "one").code == 0
    assert mounted_outside(root) == before
    assert mounted(tmp_path) == mounted_outside(root)
    assert (volume / "token").exists() and (decoy / "v" / "precious").exists()


def test_a_link_in_one_volume_does_not_lead_to_a_mount_of_the_hosts(
    stage: Chapter, root: Path, tmp_path: Path, host_mount: Path
) -> None:
    """Defects 4 and 7: one volume lies over another; a link in it names the host's mount as the other one's place."""
    other = tmp_path / "other"
    other.mkdir()
    zocker = stage("5.8")
    volumes = ["-v", f"{other}:/a/b/{host_mount.name}", "-v", f"{host_mount}:/a"]
    assert zocker("run", "-d", "--name", "one", *volumes, "busybox", "sleep", "1000").code == 0
    assert zocker("exec", "one", "ln", "-s", str(host_mount.parent), "/a/b").code == 0
    removed = zocker("rm", "-f", "one")
    assert str(host_mount) in mounted(tmp_path), "the host's own file system was unmounted"
    assert removed.code == 0, removed
    assert mounted(tmp_path) == mounted_outside(root)


def test_a_volume_that_lies_over_another_can_be_removed(stage: Chapter, root: Path, tmp_path: Path) -> None:
    """Defect 7: what was mounted is unmounted again, also where a later mount hides an earlier one."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "wide").mkdir()
    zocker = stage("5.8")
    volumes = ["-v", f"{tmp_path}/deep:/a/b", "-v", f"{tmp_path}/wide:/a"]
    assert zocker("run", *volumes, "busybox", "touch", "/a/file").code == 0
    assert os.listdir(tmp_path / "wide") == ["file"] and os.listdir(tmp_path / "deep") == []
    assert mounted(tmp_path) == mounted_outside(root)


@pytest.mark.parametrize("character", ["\r", "\n", "\f", "\v", "\x1c", "\x85", "\u2028", " ", "\\", "\\040", "\t", "#"])
def test_no_name_that_a_container_gives_blinds_the_runtime(
    stage: Chapter, root: Path, tmp_path: Path, character: str
) -> None:
    """Defect 7: the directory above a volume, renamed by the container, is in the host's table of mounts."""
    (tmp_path / "volume").mkdir()
    zocker = stage("5.8")
    assert zocker("run", "-d", "--name", "one", "-v", f"{tmp_path}/volume:/a/v", "busybox", "sleep", "1000").code == 0
    assert zocker("exec", "one", "mv", "/a", f"/x{character}y{character}").code == 0
    try:
        assert zocker("run", "busybox", "echo", "alive").lines == ["alive"]
        assert zocker("rm", "-f", "one").code == 0
    finally:
        if (root / "mnt" / "one").exists():  # what the runtime can't see any more, the test takes away
            subprocess.run(["umount", f"{root}/mnt/one/x{character}y{character}/v"], check=False, capture_output=True)
    assert not (root / "mnt").exists()


def test_an_image_whose_proc_and_dev_are_links_keeps_to_itself(stage: Chapter, root: Path, tmp_path: Path) -> None:
    """Defect 4: /proc and /dev of the image as symlinks lead the container's own mounts nowhere outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    make_image(root, "crooked", proc=str(outside), dev=str(outside))
    before = mounted(tmp_path)
    zocker = stage("5.8")
    assert zocker("run", "-d", "--name", "one", "crooked", "sleep", "1000").code in (0, 125)
    assert mounted_outside(root) == before
    assert os.listdir(outside) == []
    zocker("rm", "-f", "one")


# --- 5: the environment -----------------------------------------------------------------------------------


def test_nothing_of_the_hosts_environment_comes_along(stage: Chapter) -> None:
    """Defect 5: the host's whole environment leaked into the container, in run and in exec."""
    zocker, secret = (
        stage("5.8"),
        {"SECRET_TOKEN": secrets.token_hex(8), "LD_PRELOAD": "", "PYTHONHOME": "", "IFS": "x"},
    )
    assert set(zocker("run", "busybox", "env", env=secret).lines) == GIVEN_ENVIRONMENT
    asked = {"A=1", "B=two words", "C=", "D=a=b", "E=", "É=ü"}
    options = [word for pair in sorted(asked) for word in ("-e", pair)]
    assert zocker("run", "-d", "--name", "one", *options, "busybox", "sleep", "1000", env=secret).code == 0
    seen = Path(f"/proc/{zocker.pid('one')}/environ").read_bytes().decode().split("\0")
    assert set(filter(None, seen)) == GIVEN_ENVIRONMENT | asked
    assert set(zocker("exec", "one", "env", env=secret).lines) == GIVEN_ENVIRONMENT | asked


def test_the_last_value_of_a_variable_holds_and_path_can_be_given(stage: Chapter) -> None:
    """Defect 5: the environment is what was asked for, each variable once."""
    done = stage("5.8")("run", "-e", "A=1", "-e", "A=2", "-e", "PATH=/bin", "-e", "HOME=/tmp", "busybox", "env")
    assert sorted(done.lines) == ["A=2", "HOME=/tmp", "PATH=/bin"]


# --- 6: descriptors, signals, host name, devices -----------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "run -d", "exec"])
def test_no_descriptor_of_the_callers_is_open_in_the_container(stage: Chapter, tmp_path: Path, verb: str) -> None:
    """Defect 6: inherited descriptors stayed open in PID 1, and so the host's files could be reached."""
    zocker = stage("5.8")
    secret = os.open("/etc/passwd", os.O_RDONLY)
    directory = os.open("/", os.O_RDONLY)
    os.dup2(directory, 77)
    words = ["run", "busybox"] if verb == "run" else ["exec", "one"]
    if verb == "exec":
        assert zocker("run", "-d", "--name", "one", "busybox", "sleep", "1000").code == 0
    try:
        if verb == "run -d":
            held = zocker.start(
                "run", "-d", "--name", "one", "busybox", "sleep", "1000", pass_fds=(secret, directory, 77)
            )
            held.communicate(timeout=30)
            assert sorted(os.listdir(f"/proc/{zocker.pid('one')}/fd")) == ["0", "1", "2"]
            return
        process = zocker.start(*words, "sh", "-c", "exec ls -l /proc/self/fd", pass_fds=(secret, directory, 77))
        out, _ = process.communicate(timeout=30)
    finally:
        for fd in (secret, directory, 77):
            os.close(fd)
    # 3 is the one by which ls reads the directory.
    assert {line.split()[8] for line in out.decode().splitlines()[1:]} == set("0123"), out


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_signals_and_umask_are_those_of_a_fresh_process(stage: Chapter, verb: str) -> None:
    """Defect 6: Python leaves SIGPIPE and SIGXFSZ ignored, and execve keeps what is ignored."""
    import signal

    zocker = stage("5.8")

    def as_a_bad_caller() -> None:
        for number in (signal.SIGUSR1, signal.SIGPIPE, signal.SIGCHLD, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGCHLD, signal.SIGWINCH])
        os.umask(0o077)

    words = ["run", "busybox"]
    if verb == "exec":
        assert zocker("run", "-d", "--name", "one", "busybox", "sleep", "1000").code == 0
        words = ["exec", "one"]
    script = "umask; exec grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status"
    process = zocker.start(*words, "sh", "-c", script, preexec_fn=as_a_bad_caller)
    out, err = process.communicate(timeout=30)
    lines = out.decode().splitlines()
    assert lines[0] == "0022", (out, err)
    assert [line.split() for line in lines[1:3]] == [["SigBlk:", "0" * 16], ["SigIgn:", "0" * 16]]


def test_the_hostname_is_the_containers_and_the_hosts_stays(stage: Chapter) -> None:
    """Defect 6: the hostname was the host's."""
    before = os.uname().nodename
    for chapter, image in (("3.1", []), ("4.1", []), ("5.8", ["busybox"])):
        name = stage(chapter)("run", *image, "hostname").lines
        assert len(name) == 1 and name[0].isdigit() and len(name[0]) == 10 and name != [before]
    assert stage("5.8")("run", "--name", "bird", "busybox", "hostname").lines == ["bird"]
    assert os.uname().nodename == before


@pytest.mark.parametrize("chapter", ["4.1", "4.2", "5.8"])
def test_the_devices_that_programs_count_on_are_there(stage: Chapter, chapter: str) -> None:
    """Defect 6: /dev had no null."""
    script = """
        echo gone >/dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && head -c 4 /dev/random | wc -c
        echo x 2>&1 >/dev/full | wc -l; stat -c '%n %a %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty
        stat -c '%a %F' /dev/shm && echo x >/dev/shm/x && echo piped | cat /dev/stdin && ls -l /dev/null /dev/null | wc -l
        mount | grep -v ' on / ' | cut -d ' ' -f 3
    """
    done = stage(chapter)("run", *(["busybox"] if chapter == "5.8" else []), "sh", "-c", script)
    assert done.code == 0, done
    names = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    nodes = [f"/dev/{name} 666 {number}" for name, number in names.items()]
    assert done.lines == ["4", "4", "4", "1", *nodes, "1777 directory", "piped", "2", "/proc", "/dev"]


# --- 7: a failed umount -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["volume", "root"])
@pytest.mark.parametrize("mode", ["rm", "foreground"])
def test_a_busy_mount_stops_the_removal_and_nothing_is_deleted(
    stage: Chapter, root: Path, state: Path, tmp_path: Path, where: str, mode: str
) -> None:
    """Defect 7: a failed umount was logged and then the tree deleted; with a busy volume that was the host's data."""
    volume = tmp_path / "volume"
    (volume / "deep").mkdir(parents=True)
    (volume / "deep" / "precious").write_text("of the host")
    zocker = stage("5.8")
    script = "echo said; touch /written; while [ ! -e /v/end ]; do sleep 0.02; done"
    words = ["--name", "one", "-v", f"{volume}:/v", "busybox", "sh", "-c", script]
    foreground = zocker.start("run", *words) if mode == "foreground" else None
    if mode == "rm":
        assert zocker("run", "-d", *words).code == 0
    eventually(lambda: (root / "writeLayer/one/written").exists())
    place = root / "mnt" / "one" / ("v/deep" if where == "volume" else "bin")
    squatter = subprocess.Popen(["sleep", "1000"], cwd=place)
    try:
        if foreground:
            (volume / "end").touch()
            _, err = foreground.communicate(timeout=30)
            failed = Result(foreground.returncode, "", err.decode())
        else:
            assert zocker("stop", "one").code == 0
            failed = zocker("rm", "one")
        assert "busy" in refused(failed).err
        assert (volume / "deep" / "precious").read_text() == "of the host"
        assert (root / "writeLayer/one/written").exists()
        assert "one" in zocker("ps").out
        if mode == "rm":
            assert (state / "one/config.json").exists() and zocker("logs", "one").out == "said\n"
    finally:
        squatter.kill()
        squatter.wait()
    assert zocker("rm", "one").code == 0
    assert (volume / "deep" / "precious").read_text() == "of the host"
    assert not (root / "mnt").exists() and not (root / "writeLayer").exists() and not state.exists()


def test_a_mount_below_the_container_that_is_not_its_own_is_left_alone(
    stage: Chapter, root: Path, tmp_path: Path
) -> None:
    """Defect 7: what somebody else mounted inside the merged view is neither unmounted nor deleted."""
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "precious").write_text("of the host")
    zocker = stage("5.8")
    assert zocker("run", "-d", "--name", "one", "busybox", "sleep", "1000").code == 0
    place = root / "mnt/one/home"
    subprocess.run(["mount", "--bind", str(stranger), str(place)], check=True)
    try:
        refused(zocker("rm", "-f", "one"))
        assert (stranger / "precious").exists() and str(place) in mounted(tmp_path)
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert zocker("rm", "one").code == 0
    assert (stranger / "precious").exists() and not (root / "mnt").exists()


# --- after the root has changed, nothing of the image's is code of the runtime's ------------------------------


def test_modules_and_libraries_in_an_image_are_never_the_runtimes(stage: Chapter, root: Path, tmp_path: Path) -> None:
    """Defect 2: an import, a codec or a name service after the root changed would run the image's code as root."""
    make_image(root, "evil")
    bait = b"import os\nos.open('/bait', os.O_CREAT | os.O_WRONLY)\n"
    version = "python3.11"
    places = ["", *(f"usr/{lib}/{version}/" for lib in ("lib", "local/lib")), f"usr/lib/{version}/site-packages/"]
    names = ["signal.py", "os.py", "stat.py", "errno.py", "codecs.py", "encodings/__init__.py", "encodings/utf_8.py"]
    names += ["encodings/idna.py", "stages/__init__.py", "stages/kernel/__init__.py", "sitecustomize.py", "select.py"]
    names += ["traceback.py", "linecache.py", "pwd.py", "grp.py", "bz2.py", "lzma.py", "termios.py"]
    libraries = ["libnss_files.so.2", "libnss_compat.so.2", "libc.so.6", "libgcc_s.so.1"]
    here = str(Path(__file__).resolve().parents[2]).strip("/") + "/"
    with tarfile.open(root / "evil.tar", "a") as tar:
        for place in [*places, here, here + "stages/kernel/"]:
            for name in names:
                _add_file(tar, place + name, bait)
        for place in ("lib", "lib64", "usr/lib", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"):
            for name in libraries:
                _add_file(tar, f"{place}/{name}", b"\x7fELF no library")
        _add_file(tar, "etc/nsswitch.conf", b"passwd: files evil\ngroup: files evil\n")
        _add_file(tar, "etc/ld.so.preload", b"/lib/libc.so.6\n")
    zocker = stage("5.8")
    for words, code in (
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["nosuch"], 127),
        (["/etc/passwd"], 126),
        (["/nosuch/at/all"], 127),
        (["a" * 5000], 127),
        (["ls", "/bait"], 1),
    ):
        done = zocker("run", "evil", *words)
        assert done.code == code and "Traceback" not in done.err, done
    assert zocker("run", "-d", "--name", "one", "evil", "sleep", "1000").code == 0
    for words, code in ((["true"], 0), (["nosuch"], 127), (["/etc/passwd"], 126), (["ls", "/bait"], 1)):
        assert zocker("exec", "one", *words).code == code
    traced = _files_opened_after_pivot_root(zocker, tmp_path / "trace", "evil")
    assert traced and not [path for path in traced if path.endswith((".py", ".pyc", ".so")) or ".so." in path], traced


def _add_file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    import io

    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, io.BytesIO(content))


def _files_opened_after_pivot_root(zocker: Stage, trace: Path, image: str) -> "list[str]":
    calls = "trace=open,openat,openat2,execve,pivot_root,stat,newfstatat,lstat,access,readlink"
    subprocess.run(
        ["strace", "-f", "-o", str(trace), "-e", calls, *zocker.command("run", image, "nosuch")],
        env=zocker.environment,
        capture_output=True,
        timeout=30,
    )
    lines = trace.read_text().splitlines()
    pid, at = next((line.split()[0], number) for number, line in enumerate(lines) if "pivot_root(" in line)
    after = [line for line in lines[at + 1 :] if line.startswith(pid + " ")]
    return [line.split('"')[1] for line in after if line.count('"') > 1]
