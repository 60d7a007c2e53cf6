"""Faults of `commit`."""

from tests.harness.mutants.mutant import mutant


@mutant("4.4", since="4.4", kills={"commit"})
def commit_of_the_upper_only() -> None:
    """Only the write layer is packed, without the image below it."""
    from stages.kernel import tar

    write_tree = tar.write_tree
    tar.write_tree = lambda directory, out: write_tree(directory.replace("/mnt", "/writeLayer"), out)


@mutant("5.7", since="5.7", kills={"volume_in_the_image"})
def commit_without_the_volume() -> None:
    """What is mounted in the view is left out of the image: only its mount point is packed."""
    import os

    from stages.kernel import tar

    write_tree, listing = tar.write_tree, tar.list_directory

    def of_one_file_system(directory: str, out: int) -> None:
        device = os.stat(directory).st_dev
        tar.list_directory = lambda fd: listing(fd) if os.fstat(fd).st_dev == device else iter(())
        write_tree(directory, out)

    tar.write_tree = of_one_file_system


@mutant("4.4", since="4.4", kills={"commit_of_one_moment"})
def commit_without_the_pause() -> None:
    """The container goes on writing while it is packed."""
    from stages.kernel import freezer

    freezer.freeze = lambda groups, seconds=10: None


@mutant("4.4", since="4.4", kills={"commit_of_one_moment"}, weakly={"commit"})
def commit_leaves_it_frozen() -> None:
    """The container is paused while it is packed, and stays so."""
    from stages.kernel import freezer

    freezer.thaw = lambda groups: None


@mutant("4.4", since="4.4", kills={"commit_all_at_once"})
def commit_not_atomic() -> None:
    """The image is written under its own name: for a while it is there in part."""
    import os

    from stages.kernel import commit
    from stages.kernel.places import Places

    write = commit._write

    def in_place(places: Places, mount_point: str, containers: dict[str, list[str]], aside: str, *how: bool) -> None:
        root, _, name = aside.replace("/.zocker/commit", "").rpartition("/")
        write(places, mount_point, containers, f"{root}/{name.rpartition('.')[0]}", *how)

    class WithoutRename:
        rename = staticmethod(lambda aside, tarball: None)

        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

    commit._write, commit.os = in_place, WithoutRename()


@mutant("4.4", since="4.4", kills={"commit_targets"})
def image_name_not_checked_by_commit() -> None:
    """The name of a new image may be a path that leads elsewhere."""
    import stage_4_4_package

    stage_4_4_package.check_image_name = lambda name: name


@mutant("4.4", since="4.4", kills={"commit_of_none", "commit_targets"})
@mutant("5.7", since="5.7", kills={"commit_of_unknown"}, name="image-of-an-unknown-container")
def image_of_nothing() -> None:
    """When there is no such container, or none that runs, `commit` makes an empty tar."""
    import tarfile

    import stage_4_4_package
    import stage_commit
    from stages.kernel.errors import Failure

    def anyway(commit: object) -> object:
        def commit_anyway(places: object, words: list[str]) -> int:
            try:
                return commit(places, words)
            except Failure:
                tarfile.open(places.tarball(words[-1]), "w").close()
                return 0

        return commit_anyway

    stage_4_4_package.commit = anyway(stage_4_4_package.commit)
    stage_commit.commit = anyway(stage_commit.commit)


@mutant("5.7", since="5.7", kills={"commit_again", "container_from_the_image", "image_in_a_tar", "volume_in_the_image"})
def commit_without_what_is_new() -> None:
    """Only what the image had already is packed, changed or not; new directories are left out."""
    import os
    import subprocess

    from stages.kernel import tar

    def write_tree(directory: str, out: int) -> None:
        names = [name for name in os.listdir(directory) if os.path.isdir(f"/root/busybox/{name}")]
        subprocess.run(["tar", "-C", directory, "-cf", "-", *names], stdout=out, check=True)

    tar.write_tree = write_tree
