"""4.2  Writes go to a layer above the image; the image stays as it was.  One layer for all, gone at exit."""

import os

from tests.chapters.conftest import (
    Chapter,
    chapters,
    eventually,
    first_process,
    fresh,
    mountinfo,
    targets,
    until,
    visible,
)


@chapters("4.2", "5.7")
def test_the_kernel_shows_the_union_with_its_branches(chapter: Chapter) -> None:
    """D9: the container's / is a union whose upper branch is its write layer and whose lower is busybox; its view on the host too."""
    name = fresh("bird")
    named = ["--name", name] if chapter.knows("5.2") else []
    first = first_process(chapter.begin(named, ["sleep", "1000"]), "sleep")
    ours = [line for line in mountinfo() if line.split(" ")[4] == str(chapter.view(name))]
    theirs = [line for line in mountinfo(first) if line.split(" ")[4] == "/"]
    assert len(ours) == len(theirs) == 1
    for line in ours + theirs:
        kind, _, options = line.partition(" - ")[2].split(" ")
        if kind == "overlay":
            assert f"lowerdir={chapter.root}/busybox," in options
            assert f"upperdir={chapter.layer(name)}," in options
        else:
            assert kind == "aufs"


@chapters("4.2", "5.2", "5.6")
def test_two_containers_share_one_layer_and_the_last_one_out_removes_it(chapter: Chapter) -> None:
    """Between 4.2 and 5.6 there is one write layer: each of two sees the other's file; the first one's exit leaves the mount alone."""
    one, other, end_one, end_other = (fresh() for _ in range(4))
    first = chapter.begin(
        [], ["sh", "-c", f"echo {one} >/{one}; {until(f'/{other}')}; cat /{other}; {until(f'/{end_one}')}"]
    )
    view = chapter.root / "mnt"
    eventually(lambda: (view / one).exists())
    script = f"cat /{one}; echo {other} >/{other}.new; mv /{other}.new /{other}; {until(f'/{end_other}')}; ls /"
    second = chapter.begin([], ["sh", "-c", script])
    eventually(lambda: (view / other).exists())
    assert targets().count(str(view)) == 1, "one mount for both"

    os.mknod(view / end_one)  # not opened: what is open in a mount keeps it
    out, _ = first.communicate(timeout=10)
    assert (first.returncode, out.decode()) == (0, f"{other}\n"), "the first one has seen the second one's file"
    assert targets().count(str(view)) == 1 and (view / one).read_text() == f"{one}\n"

    os.mknod(view / end_other)
    out, _ = second.communicate(timeout=10)
    seen = out.decode().split()
    assert second.returncode == 0 and seen[0] == one, "the second one has seen the first one's file"
    assert {one, other} <= set(seen[1:]), "and still had it after the first one's exit"
    assert visible(chapter.root) == {"busybox", "busybox.tar"}
    assert str(view) not in targets()


@chapters("4.2", "5.2")
def test_what_a_killed_runtime_left_is_removed_by_the_next_container(chapter: Chapter) -> None:
    """D9: a runtime that is killed cleans nothing up; the next run, or `stages reset`, does, and starts from a fresh layer."""
    name = fresh()
    runtime = chapter.begin([], ["sh", "-c", f"echo >/{name}; exec sleep 1000"])
    first_process(runtime, "sleep")
    runtime.kill()
    runtime.wait()
    assert (chapter.root / "writeLayer" / name).exists(), "nobody has removed it yet"
    if chapter.knows("5.2"):  # there it has a record, and waits for its `rm`
        chapter.reset()
    else:
        eventually(lambda: name not in chapter.run([], ["ls", "/"]).out)
    assert visible(chapter.root) == {"busybox", "busybox.tar"}
