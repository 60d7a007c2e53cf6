"""5.7  Any image, by name; a layer and a mount for each container; and an image from each: `commit CONTAINER IMAGE`."""

import json
import os
import subprocess
import tarfile
from pathlib import Path

from tests.chapters.conftest import (
    ROOT_DIRECTORIES,
    Chapter,
    chapters,
    eventually,
    fresh,
    row,
    rows,
    status,
    targets,
    tree,
    until,
    visible,
)


@chapters("5.7")
def test_seed_000_step_by_step(chapter: Chapter, tmp_path: Path) -> None:
    """D20: two containers with volumes; one is changed, committed, unpacked by tar, run as a new image; and removed.

    Two steps of the transcript contradict the program it shows: `rm` refuses a running container, so a `stop` comes first,
    and container3 is still there in the last tree.
    """
    hello, inner = fresh("hello"), fresh("hello")
    layers, root = chapter.root / "writeLayer", chapter.root
    image = fresh("image1")
    froms = {n: tmp_path / f"from{n}" for n in (1, 2, 3)}

    # 1. run container1 and container2, each with its volume
    for n in (1, 2):
        done = chapter("run", "-d", "--name", f"container{n}", "-v", f"{froms[n]}:/to{n}", "busybox", "top")
        assert done.code == 0, done

    # 2. ps lists both, running
    found = rows(chapter)
    assert [(one["NAME"], one["STATUS"], one["COMMAND"]) for one in found] == [
        ("container1", "running", "top"),
        ("container2", "running", "top"),
    ]
    for one in found:
        assert status(one["PID"], "NSpid").split() == [one["PID"], "1"]
        assert Path(f"/proc/{one['PID']}/comm").read_text() == "top\n"

    # 3. exec container1 sh: look around and write, in the volume and beside it
    typed = f"ls\necho {hello} >> to1/test1.txt\nmkdir to1-1\necho {inner} >> to1-1/test1.txt\nexit\n"
    done = chapter("exec", "container1", "sh", stdin=typed)
    assert done.code == 0, done
    assert done.out.split() == sorted([*ROOT_DIRECTORIES, "to1"])

    # 4. the write layers: the volume is only a mount point there
    assert {"to1/", "to1-1/", "to1-1/test1.txt"} <= tree(layers / "container1")
    assert "to1/test1.txt" not in tree(layers / "container1")
    assert tree(layers / "container2") == {"to2/"}
    assert sorted(os.listdir(layers)) == ["container1", "container2"]

    # 5. the host has the volume's file
    assert tree(froms[1]) == {"test1.txt"}
    assert (froms[1] / "test1.txt").read_text() == f"{hello}\n"
    assert tree(froms[2]) == set()

    # 6. commit container1 image1, unpacked by hand beside it
    done = chapter("commit", "container1", image)
    assert (done.code, done.out, done.err) == (0, f"{root}/{image}.tar\n", "")
    (root / image).mkdir()
    subprocess.run(["tar", "-xvf", f"{image}.tar", "-C", f"{image}/"], cwd=root, check=True, capture_output=True)
    assert (root / image / "to1-1" / "test1.txt").read_text() == f"{inner}\n"
    assert (root / image / "to1" / "test1.txt").read_text() == f"{hello}\n"
    assert visible(root / image) == {*ROOT_DIRECTORIES, "to1", "to1-1"}

    # 7. run container3 from that image
    done = chapter("run", "-d", "--name", "container3", "-v", f"{froms[3]}:/to3", image, "top")
    assert done.code == 0, done
    done = chapter("exec", "container3", "sh", stdin="ls\ncat to1/test1.txt to1-1/test1.txt\nexit\n")
    assert done.out.split() == [*sorted([*ROOT_DIRECTORIES, "to1", "to1-1", "to3"]), hello, inner]

    # 8. stop and rm container1: its layer and mount point are gone, the others' are not
    done = chapter("rm", "container1")
    assert done.code == 125 and "container1" in done.err
    assert (layers / "container1").is_dir() and (root / "mnt" / "container1").is_dir()
    assert chapter("stop", "container1").code == 0
    assert chapter("rm", "container1").code == 0
    assert sorted(os.listdir(layers)) == sorted(os.listdir(root / "mnt")) == ["container2", "container3"]
    assert f"{root}/mnt/container1" not in targets() and f"{root}/mnt/container2" in targets()
    assert [one["NAME"] for one in rows(chapter)] == ["container2", "container3"]
    assert (froms[1] / "test1.txt").read_text() == f"{hello}\n"

    chapter.reset()
    for left in (f"{image}.tar",):
        (root / left).unlink()
    subprocess.run(["rm", "-r", str(root / image)], check=True)


@chapters("5.7")
def test_the_log_of_a_run_shows_its_steps(chapter: Chapter, tmp_path: Path) -> None:
    """D20, step 1: the log shows the mount with both branches, the volume's two paths, the command and the container's name.

    It is asked for by `-v` in front of the verb; without it, standard error is the command's.
    """
    assert chapter.run([], ["true"]).err == ""
    name = fresh("container")
    done = chapter("-v", "run", "-d", "--name", name, "-v", f"{tmp_path}/from1:/to1", "busybox", "top")
    assert done.code == 0, done
    mounts = [line for line in done.err.splitlines() if "mount -t " in line and f"{chapter.root}/mnt/{name}" in line]
    assert mounts and f"{chapter.root}/writeLayer/{name}" in mounts[0] and f"{chapter.root}/busybox" in mounts[0]
    assert [line for line in done.err.splitlines() if f"{tmp_path}/from1" in line and "/to1" in line]
    assert "command all is top" in done.err
    assert f"container name is {name}" in done.err


@chapters("5.7", "5.8")
def test_the_log_of_the_other_verbs_shows_what_they_do(chapter: Chapter) -> None:
    """`-v`: the five namespaces of exec, pause and tar of commit, the signal of stop, what rm undoes; none of it in the log file."""
    name = fresh("bird")
    first = chapter.detach(["top"], name=name)
    done = chapter("-v", "exec", name, "echo", "it ran")
    joined = [line for line in done.err.splitlines() if line.startswith("setns on ")]
    assert (done.code, done.out) == (0, "it ran\n")
    assert joined == [f"setns on {kind} namespace succeeded" for kind in ("ipc", "uts", "net", "pid", "mnt")]
    assert f"nsenter --target {first} " in done.err
    done = chapter("-v", "commit", name, "image1")
    words = ["/cgroup.freeze", f"tar -C {chapter.root}/mnt/{name} ", "/cgroup.freeze", f"{chapter.root}/image1.tar"]
    places = [done.err.find(words[0]), done.err.find(words[1]), done.err.rfind(words[2]), done.err.rfind(words[3])]
    assert -1 not in places and places == sorted(places), done
    assert done.out == f"{chapter.root}/image1.tar\n"
    assert f"kill -TERM {first}" in chapter("-v", "stop", name).err
    log = (chapter.state / name / "container.log").read_text()
    assert "setns" not in log and "mount" not in log
    done = chapter("-v", "rm", name)
    assert f"umount {chapter.root}/mnt/{name}" in done.err and done.code == 0
    (chapter.root / "image1.tar").unlink()


@chapters("5.7")
def test_each_container_has_a_layer_of_its_own(chapter: Chapter) -> None:
    """From 5.7 on nothing is shared: two at once don't see each other's files, and one's end leaves the other's mount alone."""
    one, other, mark, end = fresh("bird"), fresh("bird"), fresh(), fresh("end")
    first = chapter.begin(["--name", one], ["sh", "-c", f"echo {mark} >/{one}; {until(f'/{end}')}; ls /"])
    second = chapter.begin(["--name", other], ["sh", "-c", f"echo {mark} >/{other}; {until(f'/{end}')}; ls /"])
    views = {name: chapter.root / "mnt" / name for name in (one, other)}
    for name, view in views.items():
        eventually(lambda view=view, name=name: (view / name).exists())  # type: ignore[misc]
        assert tree(chapter.root / "writeLayer" / name) == {name}
        assert targets().count(str(view)) == 1
    assert f"{chapter.root}/mnt" not in targets()

    os.mknod(views[one] / end)  # not opened: what is open in a mount keeps it
    out, _ = first.communicate(timeout=10)
    assert first.returncode == 0
    assert one in out.decode().split() and other not in out.decode().split()
    assert not views[one].exists() and not (chapter.root / "writeLayer" / one).exists()
    assert targets().count(str(views[other])) == 1 and (views[other] / other).exists()

    os.mknod(views[other] / end)
    out, _ = second.communicate(timeout=10)
    assert other in out.decode().split() and one not in out.decode().split()
    assert visible(chapter.root) == {"busybox", "busybox.tar"}


@chapters("5.7")
def test_commit_packs_what_python_and_gnu_tar_both_read(chapter: Chapter, tmp_path: Path) -> None:
    """D20, step 6: the tar is plain, holds what was added and not what was deleted, the volume's file too, and all attributes."""
    name, image, content = fresh("bird"), fresh("image"), fresh()
    script = f"echo {content} >/to1/{content}; rm /etc/group; ln -s passwd /etc/link; mkdir -m 1777 /sticky; exec top"
    chapter.detach(["sh", "-c", script], "-v", f"{tmp_path}/from:/to1", name=name)
    eventually(lambda: (chapter.view(name) / "sticky").exists())
    tarball = chapter.root / f"{image}.tar"
    try:
        assert chapter("commit", name, image).out == f"{tarball}\n"
        with tarfile.open(tarball, "r:") as packed:
            members = {os.path.normpath(member.name): member for member in packed}
        listed = subprocess.run(["tar", "-tf", str(tarball)], capture_output=True, text=True, check=True).stdout
        assert {os.path.normpath(line) for line in listed.splitlines()} == set(members)
        assert f"to1/{content}" in members and "etc/group" not in members and "etc/passwd" in members
        assert members["etc/link"].issym() and members["etc/link"].linkname == "passwd"
        assert members["sticky"].mode == 0o1777
        found = row(chapter, name)
        assert found and found["STATUS"] == "running", "it was only paused"
    finally:
        tarball.unlink(missing_ok=True)


@chapters("5.7")
def test_the_record_names_the_volume(chapter: Chapter, tmp_path: Path) -> None:
    """D20, step 1: config.json holds the volume as it was given."""
    name = fresh("bird")
    chapter.detach(["top"], "-v", f"{tmp_path}/from:/to1", name=name)
    record = json.loads((chapter.state / name / "config.json").read_text())
    assert f"{tmp_path}/from:/to1" in record["volume"]


@chapters("5.7", "5.8")
def test_a_compressed_image_keeps_its_name_and_a_container_runs_from_it(chapter: Chapter, tmp_path: Path) -> None:
    """`commit -z`: gzip by content. What a container on it did not touch is copied into the next one, and `-v` says so."""
    content = fresh()
    chapter.detach(["sh", "-c", f"echo {content} >/{content}; exec top"], name="one")
    eventually(lambda: (chapter.view("one") / content).exists())
    images = [chapter.root / f"{name}.tar" for name in ("first", "second")]
    try:
        assert chapter("commit", "-z", "one", "first").out == f"{images[0]}\n"
        assert images[0].read_bytes()[:2] == b"\x1f\x8b"
        chapter.detach(["sh", "-c", f"rm /{content}; mkdir /{content}; exec top"], name="two", image="first")
        eventually(lambda: (chapter.view("two") / content).is_dir())
        done = chapter("-v", "commit", "--gzip", "two", "second")
        assert "parts of" in done.err and "(0 of" not in done.err, done
        with tarfile.open(images[1], "r:gz") as packed:
            assert packed.getmember(content).isdir() and "bin/busybox" in packed.getnames()
        done = chapter("-v", "commit", "-z", "one", "second")
        assert "nothing is copied from the container's image" in done.err
    finally:
        for image in images:
            image.unlink(missing_ok=True)


@chapters("5.7")
def test_reproducible_is_the_same_from_whatever_image(chapter: Chapter) -> None:
    """`--reproducible`: the same files give the same bytes, compressed or not, made from an image or from its copy."""
    chapter.detach(["top"], name="one")
    made = []
    try:
        for name, image in (("one", "first"), ("two", "second"), ("three", "third")):
            if name != "one":
                chapter.detach(["top"], name=name, image=made[-1].name.removesuffix(".tar"))
            assert chapter("commit", "-z", "--reproducible", name, image).code == 0
            made.append(chapter.root / f"{image}.tar")
        assert made[0].read_bytes() == made[1].read_bytes() == made[2].read_bytes()
        assert chapter("commit", "--reproducible", "one", "first").code == 0
        assert made[0].read_bytes()[:2] != b"\x1f\x8b"
    finally:
        for image_file in made:
            image_file.unlink(missing_ok=True)
