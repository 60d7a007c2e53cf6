"""When a call of the kernel fails, the sentence says which one, what that means here, and what to do.  Each is provoked."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import busybox
from harness.subjects import CHECKOUT
from harness.world import World
from stages.kernel.meanings import MEANINGS, taught


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with the busybox image; / is shared there, as on most machines."""
    busybox.build(tmp_path / "busybox.tar")
    with World(limit=20) as made:
        made.copy_in(tmp_path / "busybox.tar", "/root/busybox.tar")
        yield made


def said(
    world: World,
    *words: str,
    chapter: str = "5.8",
    fault: str = "",
    before: tuple[str, ...] = (),
    leaves_nothing: bool = True,
    **env: str,
) -> str:
    """The one sentence with which a chapter's program refuses; `fault` is a change made to it beforehand."""
    script = "\n".join(
        [
            "import sys; sys.dont_write_bytecode = True",
            f"sys.path.insert(0, {str(CHECKOUT)!r})",
            "import os",
            "from stages.kernel import cgroups, inside, layers, steps, syscalls",
            fault,
            "from stages.launch import main",
            f"sys.exit(main({chapter!r}, sys.argv[1:]))",
        ]
    )
    done = world.run([*before, sys.executable, "-IS", "-c", script, *words], env=env)
    assert done.code == 125 and done.out == "", done
    assert done.err.count("\n") == 1 and "Traceback" not in done.err, done.err
    if leaves_nothing:
        left = [
            path
            for place in ("mnt", "writeLayer", ".zocker/containers")
            for path in world.path(f"/root/{place}").glob("*")
        ]
        assert not left
    return done.err


RUN = ("run", "busybox", "true")


def test_pivot_root_where_mounts_are_shared(world: World) -> None:
    sentence = said(world, *RUN, fault="inside.PrivateMounts.do = lambda self, start: None", leaves_nothing=False)
    assert 'pivot_root(".", "."): Invalid argument: ' in sentence
    assert "shared" in sentence and "mount --make-rprivate /" in sentence


def test_pivot_root_into_what_is_no_mount_point(world: World) -> None:
    sentence = said(world, "run", "true", chapter="4.1", fault="inside.BindRoot.do = lambda self, start: None")
    assert 'pivot_root(".", "."): Invalid argument: ' in sentence and "no mount point" in sentence


def test_a_write_layer_that_another_mount_has(world: World) -> None:
    fault = "layers._PLAIN = 'index=on'\nonce = layers.mount\nlayers.mount = lambda *how: (once(*how), once(*how))"
    sentence = said(world, *RUN, fault=fault)
    assert 'mount("overlay", "/root/mnt/' in sentence
    assert "Device or resource busy: another mount has this write layer" in sentence


def test_root_without_its_power(world: World) -> None:
    """As inside a container, where root may not make namespaces."""
    sentence = said(world, *RUN, before=("setpriv", "--bounding-set=-sys_admin"))
    assert "Operation not permitted: making a container needs CAP_SYS_ADMIN" in sentence and "sudo" in sentence


def test_root_of_a_user_namespace_only(world: World) -> None:
    """There one is root by name: the machine's files and control groups are somebody else's."""
    sentence = said(world, *RUN, before=("unshare", "--user", "--map-root-user"))
    assert "making a container needs CAP_SYS_ADMIN in the machine's own user namespace" in sentence


def test_not_even_root(world: World) -> None:
    sentence = said(world, *RUN, before=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
    assert "needs root" in sentence and "sudo" in sentence


def test_an_overlay_over_an_overlay(world: World) -> None:
    """As inside Docker, where / is an overlay."""
    options = "lowerdir=/root/l,upperdir=/root/u,workdir=/root/w"
    script = f"mkdir -p /root/l /root/u /root/w /root/o; mount -t overlay -o {options} none /root/o"
    assert world.run(["sh", "-c", f"{script}; mkdir /root/o/root; cp /root/busybox.tar /root/o/root"]).code == 0
    sentence = said(world, *RUN, ZOCKER_ROOT="/root/o/root")
    assert "Invalid argument: overlay can't write to this file system. It can't be an overlay itself" in sentence
    assert "ZOCKER_ROOT" in sentence


def test_a_cpuset_without_memory_nodes(world: World) -> None:
    if not os.path.isdir("/sys/fs/cgroup/cpuset"):
        pytest.skip("only v1 has this trap, and there is no v1 cpuset here")
    fault = "once = steps.SetLimit.do\nsteps.SetLimit.do = lambda self, start: None if 'mems' in self.path else once(self, start)"
    sentence = said(world, "run", "-cpuset", "0", "busybox", "true", fault=fault)
    assert "cgroup.procs" in sentence and "No space left on device: a v1 cpuset takes no process" in sentence
    assert "cpuset.mems" in sentence


def test_a_kernel_without_the_file_system(world: World) -> None:
    sentence = said(world, *RUN, fault="layers.driver = lambda: 'nosuchfs'")
    assert "No such device: this kernel has no file system of that type" in sentence and "modprobe" in sentence


def test_a_full_disk(world: World) -> None:
    assert world.run(["sh", "-c", "mkdir /root/small && mount -t tmpfs -o size=16k none /root/small"]).code == 0
    assert world.run(["sh", "-c", "head -c 20k /dev/zero >/root/small/fill"]).code != 0
    sentence = said(world, *RUN, ZOCKER_STATE="/root/small/state")
    assert "No space left on device: the disk is full" in sentence and "df" in sentence


def test_a_file_system_that_is_read_only(world: World) -> None:
    assert world.run(["sh", "-c", "mkdir /root/ro && mount -t tmpfs -o ro none /root/ro"]).code == 0
    sentence = said(world, *RUN, ZOCKER_STATE="/root/ro/state")
    assert "Read-only file system: " in sentence and "ZOCKER_STATE" in sentence


def test_a_place_where_nothing_can_be_made(world: World) -> None:
    assert "it is no place for directories (as /proc)" in said(world, *RUN, ZOCKER_STATE="/proc/state")


def test_no_more_namespaces(world: World) -> None:
    refused = "syscalls.SystemCallFailed(28, 'unshare(CLONE_NEWUTS)')"
    fault = f"def unshare(flags): raise {refused}\nsyscalls.unshare = unshare"
    assert "as many namespaces as the machine allows" in said(world, *RUN, fault=fault)


def test_a_volume_in_which_somebody_works(world: World) -> None:
    """The way out names the whole path, wherever one stands."""
    run = [str(CHECKOUT / "bin" / "stages"), "run", "5.8", "--", "run", "-d", "--name", "bird", "-v", "/root/from:/to"]
    assert world.run([*run, "busybox", "true"]).code == 0
    world.start(["sleep", "60"], cwd="/root/mnt/bird/to")
    sentence = said(world, "rm", "bird", leaves_nothing=False)
    assert "Device or resource busy: somebody works in there" in sentence
    assert "`fuser -vm /root/mnt/bird/to`" in sentence


def test_what_nobody_knows_is_left_as_it_is() -> None:
    for sentence in ("", "all is well", 'umount2("/x", "0"): Device or resource busy', "/x: No such file or directory"):
        assert taught(sentence) == sentence


def test_a_sentence_is_taught_once() -> None:
    once = taught('pivot_root(".", "."): Invalid argument')
    assert len(once) > 100 and taught(once) == once


def test_each_meaning_ends_with_something_to_look_at_or_to_do() -> None:
    for (call, _), meanings in MEANINGS.items():
        for _, meaning in meanings:
            assert len(meaning) > 20 and not meaning.endswith("."), call
