"""The steps that are done on the host's side, and undone there from the journal."""

import errno
import os
import time
from _collections_abc import Iterator  # `collections.abc` would load all of `collections`, 2 ms

from stages.kernel import kernelfiles, life, mounts, syscalls
from stages.kernel.birth import JoinCgroup as JoinCgroup  # in a file of its own, for `exec` needs no other of these
from stages.kernel.errors import Failure, Interrupted
from stages.kernel.step import Start, Step, quoted

# Imported by the steps that need them: images, layers, trees, volumes.

ATTEMPTS = 100  # at making what others, who use the directory above as well, may take away between two of our calls
OURS = "trusted.zocker"  # the extended attribute of a directory that we made


class MakeDirs(Step):
    """Make a directory, and those above it that are missing."""

    why = "A mount needs a directory to be seen at."

    def __init__(self, path: str, mode: int = 0o755) -> None:
        self.path, self.mode = path, mode

    def look(self) -> dict[str, object]:
        return {"missing": missing_directories(self.path)}

    def do(self, start: Start) -> None:
        for _ in range(ATTEMPTS):
            try:
                return self._make_what_is_missing()
            except FileNotFoundError:
                continue  # another container was the last in a directory above, and took it away
        raise cannot_make(self.path)

    def _make_what_is_missing(self) -> None:
        for directory in reversed(missing_directories(self.path)):
            try:
                os.mkdir(directory, self.mode)
            except FileExistsError:
                continue  # another container made it at the same time, and marked it
            mark_as_ours(directory)

    def undo(self, before: dict[str, object]) -> None:
        missing = before.get("missing")
        for directory in _upwards(self.path):
            made_by_us = (isinstance(missing, list) and directory in missing) or is_ours(directory)
            if not made_by_us or not _remove_if_empty(directory):
                return

    def shell(self) -> str:
        return f"mkdir -p -m {self.mode:04o} {quoted(self.path)}"

    def undo_shell(self, before: dict[str, object]) -> str:
        return sweep_shell(self.path, before)

    def seen(self, pid: int) -> str:
        return self.path if os.path.isdir(self.path) else ""


class HostDirectory(MakeDirs):
    """The host's side of a volume.  It outlives the container: undo leaves it."""

    why = "A missing host directory is made. What is in it belongs to the host and outlives the container."

    def look(self) -> dict[str, object]:
        return {}

    def do(self, start: Start) -> None:
        if not os.path.exists(self.path):  # it may also be a file
            os.makedirs(self.path, self.mode, exist_ok=True)

    def undo(self, before: dict[str, object]) -> None:
        """Nothing: the directory stays, with what the container left in it."""

    def undo_shell(self, before: dict[str, object]) -> str:
        return ""

    def shell(self) -> str:
        return f"[ -e {quoted(self.path)} ] || {super().shell()}"


class RecordDirectory(Step):
    """The container's directory of the tutorial: config.json and container.log.  It goes with both."""

    why = "Making a directory either succeeds or fails, so of many who want one name exactly one gets it."

    def __init__(self, path: str, container_id: str) -> None:
        self.path, self.container_id = path, container_id

    def look(self) -> dict[str, object]:
        if os.path.lexists(self.path):
            raise Failure(f"the name is in use: {self.path} is there already")
        return {"missing": missing_directories(self.path)}

    def do(self, start: Start) -> None:
        for _ in range(ATTEMPTS):
            MakeDirs(os.path.dirname(self.path), 0o700).do(start)
            try:
                os.mkdir(self.path, 0o700)
            except FileNotFoundError:
                continue  # as in MakeDirs
            return mark_as_ours(self.path, self.container_id)
        raise cannot_make(self.path)

    def undo(self, before: dict[str, object]) -> None:
        # Somebody with another ZOCKER_ROOT may have been faster to take the name: then what is in it is theirs.
        if self._is_ours():
            for name in ("container.log", "config.json", "config.json.new"):
                _unlink(f"{self.path}/{name}")
        if _remove_if_empty(self.path):
            MakeDirs(os.path.dirname(self.path)).undo(before)

    def _is_ours(self) -> bool:
        try:
            return os.getxattr(self.path, OURS) == self.container_id.encode()
        except OSError:
            pass
        # A file system without attributes, or a script has made it: the record says whose it is.
        return f'"id": "{self.container_id}"' in kernelfiles.read(f"{self.path}/config.json")

    def shell(self) -> str:
        return f"mkdir -p -m 0700 {quoted(os.path.dirname(self.path))} && mkdir -m 0700 {quoted(self.path)}"

    def undo_shell(self, before: dict[str, object]) -> str:
        files = [f"{self.path}/{name}" for name in ("container.log", "config.json", "config.json.new")]
        remove = f"{{ rm -f {quoted(*files)} && rmdir {quoted(self.path)}; }}"
        lines = [f"! ours {quoted(self.path)} {self.container_id} || {remove}"]
        lines.append(sweep_shell(os.path.dirname(self.path), before))
        return "\n".join(filter(None, lines))

    def seen(self, pid: int) -> str:
        return self.path if os.path.isdir(self.path) else ""


class WriteRecord(Step):
    """Write config.json, so that other terminals can find the container.  It goes with its directory."""

    why = "`ps`, `exec`, `stop` and the others run in other processes: what they need to know must be in a file."

    def __init__(self, path: str, record: dict[str, object]) -> None:
        self.path, self.record = path, record

    def do(self, start: Start) -> None:
        from stages.kernel import records

        life_now = {"pid": str(start.pid), "start_time": life.start_time(start.pid), "boot_id": life.boot_id()}
        records.write(self.path, {**self.record, **life_now})

    def shell(self) -> str:
        from stages.kernel import jsontext

        text = jsontext.dumps({**self.record, "pid": "'$pid'"})
        return f"printf '%s\\n' '{text}' >{quoted(self.path)}"

    def seen(self, pid: int) -> str:
        return kernelfiles.read(self.path)


class CreateLog(Step):
    """The file that takes a detached container's output.  It goes with its directory."""

    why = "Nobody is there to read what a detached container prints, so it goes to a file."

    def __init__(self, path: str) -> None:
        self.path = path

    def do(self, start: Start) -> None:
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))

    def shell(self) -> str:
        return f"(umask 077; : >>{quoted(self.path)})"

    def seen(self, pid: int) -> str:
        return self.path if os.path.isfile(self.path) else ""


class UnpackImage(Step):
    """Make the image's tarball a directory, once."""

    why = (
        "An image is a root directory in a tarball. Unpacked, it can be a layer; that is done once for all containers."
    )

    def __init__(self, tarball: str, directory: str, hidden: str) -> None:
        self.tarball, self.directory, self.hidden = tarball, directory, hidden

    def do(self, start: Start) -> None:
        from stages.kernel import images

        images.ensure(self.tarball, self.directory, self.hidden)

    def shell(self) -> str:
        directory, tarball = quoted(self.directory), quoted(self.tarball)
        return f"[ -d {directory} ] || {{ mkdir -p {directory} && tar -C {directory} -xf {tarball}; }}"

    def seen(self, pid: int) -> str:
        try:
            return " ".join(sorted(os.listdir(self.directory)))
        except OSError:
            return ""


class WriteLayer(Step):
    """An empty directory that takes all that the container writes; it goes with its content."""

    why = "The image is to stay as it was. What the container writes, changes or deletes is kept here instead."

    def __init__(self, path: str, work: str, mount_point: str, shared: bool) -> None:
        self.path, self.work, self.mount_point, self.shared = path, work, mount_point, shared

    def look(self) -> dict[str, object]:
        # Looking also refuses: a layer that is there already and isn't in use is somebody's data.
        in_use = self.shared and mounts.at(self.mount_point) is not None
        if not in_use and os.path.isdir(self.path) and os.listdir(self.path):
            raise Failure(
                f"{self.path} holds something already, and no container that runs: look at it and move it away"
            )
        return {"missing": missing_directories(self.path) + missing_directories(self.work)}

    def do(self, start: Start) -> None:
        MakeDirs(self.path).do(start)
        MakeDirs(self.work, 0o700).do(start)

    def undo(self, before: dict[str, object]) -> None:
        if mounts.at(self.mount_point) is not None:
            if self.shared:
                return  # other containers still use it
            raise Failure(f"{self.mount_point} is still mounted: the write layer below it was not touched")
        if before.get("missing") or is_ours(self.path):
            from stages.kernel import trees

            trees.remove_tree(self.path)
            trees.remove_tree(self.work)
        for directory in (self.path, self.work):
            MakeDirs(os.path.dirname(directory)).undo(before)

    def shell(self) -> str:
        return f"mkdir -p {quoted(self.path)}\nmkdir -p -m 0700 {quoted(self.work)}"

    def undo_shell(self, before: dict[str, object]) -> str:
        guard = f"mountpoint -q {quoted(self.mount_point)} || " if self.shared else ""
        lines = [f"{guard}rm -rf --one-file-system {quoted(self.path, self.work)}"]
        lines += [sweep_shell(os.path.dirname(path), before) for path in (self.path, self.work)]
        return "\n".join(filter(None, lines))

    def seen(self, pid: int) -> str:
        return f"{self.path}/\n{tree_of(self.path)}" if os.path.isdir(self.path) else ""


class Union(Step):
    """Lay the write layer over the image; the merged view of the two is the container's root."""

    why = (
        "The container sees both layers as one tree. A file is read from the upper one if it is there, else from the lower;"
        " all writing goes to the upper."
    )

    def __init__(
        self, mount_point: str, write: str, image: str, work: str, driver: str, volatile: bool = False, users: str = ""
    ) -> None:
        self.mount_point, self.write, self.image, self.work = mount_point, write, image, work
        self.driver, self.volatile = driver, volatile
        self.users = users  # where the journals of those are who share this one mount; empty: it is one container's own

    def look(self) -> dict[str, object]:
        there = mounts.is_mount_point(self.mount_point)
        if there and not self.users:
            raise Failure(f"{self.mount_point} is a mount point already: umount it first")
        above = os.path.dirname(self.mount_point)
        if not self.users and mounts.is_mount_point(above):
            shared = mounts.at(above)
            if shared is not None and shared.fstype in ("overlay", "aufs"):
                raise Failure(
                    f"{above} is in use by a chapter before 5.7, where all containers share one mount: end those first"
                )
        return {"mounted": there}

    def do(self, start: Start) -> None:
        if self.users and mounts.at(self.mount_point) is not None:
            return
        from stages.kernel import layers

        layers.mount(self.driver, self.mount_point, self.write, self.image, self.work, self.volatile)

    def undo(self, before: dict[str, object]) -> None:
        # Asked twice, the quick way first: a mount that is hidden below another one is only in the table.
        if not (mounts.is_mount_point(self.mount_point) or mounts.at(self.mount_point)) or self._in_use_by_others():
            return
        if self.users and mounts.below(self.mount_point):
            return  # volumes of a container that is stopped and not removed yet
        unmount(self.mount_point)

    def _in_use_by_others(self) -> bool:
        from stages.kernel import journal

        if not self.users:
            return False
        for name in os.listdir(self.users):
            try:
                done = journal.Done(f"{self.users}/{name}")
            except Interrupted:
                raise
            except Failure:
                return True  # damaged: nobody knows
            shares = any(
                step == "Union" and fields["mount_point"] == self.mount_point for step, fields, _ in done.steps
            )
            if shares and done.is_alive():
                return True
        return False

    def shell(self) -> str:
        from stages.kernel import layers

        line = layers.shell(self.driver, self.mount_point, self.write, self.image, self.work, self.volatile)
        return f"mountpoint -q {quoted(self.mount_point)} || {line}" if self.users else line

    def undo_shell(self, before: dict[str, object]) -> str:
        guards = [f"! mountpoint -q {quoted(self.mount_point)}"]
        if self.users:  # those who run, and the volumes of those who are stopped and not removed yet
            guards += ["others", f"grep -Fq {quoted(f' {self.mount_point}/')} /proc/self/mountinfo"]
        return " || ".join([*guards, f"umount {quoted(self.mount_point)}"])

    def seen(self, pid: int) -> str:
        return _line_of(self.mount_point)


class Volume(Step):
    """Show a directory (or file) of the host inside the container's root."""

    why = "The write layer goes away with the container. What is to outlive it must be a directory of the host's."

    def __init__(self, source: str, rootfs: str, target: str) -> None:
        self.source, self.rootfs, self.target = source, rootfs, target

    def look(self) -> dict[str, object]:
        status = os.stat(self.source)
        return {"device": status.st_dev, "inode": status.st_ino}

    def do(self, start: Start) -> None:
        from stages.kernel import volumes

        root = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        source = os.open(self.source, os.O_PATH | os.O_CLOEXEC)
        try:
            # Mounted on a descriptor: whatever anybody renames meanwhile, it can't land outside the root.
            target = volumes.make_target(root, self.target, self.source)
            try:
                if mounts.at(os.readlink(f"/proc/self/fd/{target}")) is not None:
                    raise Failure(f"{self.target} is a mount point already: choose another path in the container")
                syscalls.mount(f"/proc/self/fd/{source}", f"/proc/self/fd/{target}", "", syscalls.MS_BIND)
            finally:
                os.close(target)
        finally:
            os.close(source)
            os.close(root)

    def undo(self, before: dict[str, object]) -> None:
        # Found by what is mounted, not by the name of where: the container may have renamed directories above it.
        for mount in mounts.below(self.rootfs):
            if self._is_at(mount, before):
                return

    def _is_at(self, mount: mounts.Mount, before: dict[str, object]) -> bool:
        """Unmount `mount` if it shows this volume.

        No symbolic link is followed on the way to it, and it is named from its own parent directory: the container, or
        whoever shares a volume with it, may have put a link in the way that leads to a mount of the host's.
        """
        path, name = os.path.split(os.path.relpath(mount.target, self.rootfs))
        no_links = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS | syscalls.RESOLVE_BENEATH
        root = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        here = os.open(".", os.O_PATH | os.O_CLOEXEC)
        try:
            parent = syscalls.openat2(root, path or ".", os.O_PATH | os.O_DIRECTORY, no_links)
            os.fchdir(parent)
            os.close(parent)
            target = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            status, mount_id = os.fstat(target), mounts.id_of(target)
            os.close(target)  # an open descriptor would keep it busy
            if mount_id != mount.mount_id or (status.st_dev, status.st_ino) != (before["device"], before["inode"]):
                return False  # another volume, or hidden below one that was mounted later
            unmount(name, mount.target)
            return True
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno == errno.ELOOP:
                return False
            raise
        finally:
            os.fchdir(here)
            os.close(here)
            os.close(root)

    def shell(self) -> str:
        target, above = f"{self.rootfs}{self.target}", os.path.dirname(f"{self.rootfs}{self.target}")
        return "\n".join(
            [
                f'[ "$(readlink -m {quoted(target)})" = {quoted(target)} ] # else a link would lead out of the root',
                f"mkdir -p {quoted(above)} && : >>{quoted(target)}"
                if os.path.isfile(self.source)
                else f"mkdir -p {quoted(target)}",
                f"mount --bind {quoted(self.source, target)}",
            ]
        )

    def undo_shell(self, before: dict[str, object]) -> str:
        target = quoted(f"{self.rootfs}{self.target}")
        return f"! mountpoint -q {target} || umount {target}"

    def seen(self, pid: int) -> str:
        return _line_of(f"{self.rootfs}{self.target}")


class MakeCgroup(Step):
    """A control group of the container's own."""

    why = "Limits are kept for each group. A group of its own, and no container's limit can leak to another."

    def __init__(self, path: str) -> None:
        self.path = path

    def do(self, start: Start) -> None:
        for _ in range(ATTEMPTS):  # the last container's end may remove the directory above between our two calls
            try:
                os.makedirs(os.path.dirname(self.path), exist_ok=True)
                os.mkdir(self.path)
                return
            except FileNotFoundError:
                continue
        raise Failure(f"could not make {self.path}: somebody keeps removing {os.path.dirname(self.path)}")

    def undo(self, before: dict[str, object]) -> None:
        # The last of a pid namespace's processes leave the group a moment after their PID 1 has ended.
        deadline = time.monotonic() + 5
        while True:
            try:
                os.rmdir(self.path)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < deadline:
                    time.sleep(0.002)
                    continue
                raise Failure(
                    f"rmdir({self.path}): {error.strerror}: processes are still in it, see its cgroup.procs"
                ) from None
            break
        try:
            os.rmdir(os.path.dirname(self.path))
        except OSError:
            pass  # other containers' groups are in it

    def shell(self) -> str:
        return f"mkdir -p {quoted(os.path.dirname(self.path))} && mkdir {quoted(self.path)}"

    def undo_shell(self, before: dict[str, object]) -> str:
        group, above = quoted(self.path), quoted(os.path.dirname(self.path))
        return (
            "# The last processes leave the group a moment after their PID 1 has ended.\n"
            f"while [ -d {group} ] && ! rmdir {group} 2>/dev/null; do sleep 0.01; done\n"
            f"rmdir {above} 2>/dev/null || :"
        )

    def seen(self, pid: int) -> str:
        return self.path if os.path.isdir(self.path) else ""


class SetLimit(Step):
    """Write one value into one file of a cgroup."""

    why = "A control group is set by writing to the files in its directory."

    def __init__(self, path: str, value: str, if_there: bool = False) -> None:
        self.path, self.value, self.if_there = path, value, if_there

    def do(self, start: Start) -> None:
        if self.if_there and not os.path.exists(self.path):
            return
        kernelfiles.write(self.path, self.value)

    def shell(self) -> str:
        guard = f"[ ! -e {quoted(self.path)} ] || " if self.if_there else ""
        return f"{guard}echo {quoted(self.value)} >{quoted(self.path)}"

    def seen(self, pid: int) -> str:
        return f"{self.path}: {kernelfiles.read(self.path)}" if os.path.exists(self.path) else ""


def unmount(target: str, where: str = "") -> None:
    """Unmount without lazy tricks: a mount in use stays, and so does all that lies below it.  Raises Failure.

    `where` is the whole path of a target that is only a name in the working directory.
    """
    where = where or target
    try:
        syscalls.umount(target, syscalls.UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise Failure(
                f'umount2("{where}", "UMOUNT_NOFOLLOW"): {error.strerror}: somebody works in there (a shell whose directory it is,'
                f" an open file: `fuser -vm {where}`);"
                " nothing below it was removed"
            ) from None
        raise


def sweep_shell(path: str, before: dict[str, object]) -> str:
    """A line that removes `path` and the directories above it as far as we made them and nobody uses them any more.

    `sweep`, as `ours`, is a function of the scripts that `--explain` prints.
    """
    missing = before.get("missing")
    made = missing if isinstance(missing, list) else []
    return f"sweep {quoted(*ours)}" if (ours := [d for d in _upwards(path) if d in made or is_ours(d)]) else ""


def cannot_make(path: str) -> Failure:
    """What to raise when a directory could not be made, however often it was tried."""
    return Failure(
        f"could not make {path}: it is no place for directories (as /proc), or somebody keeps removing those above it"
    )


def missing_directories(path: str) -> list[str]:
    """`path` and the directories above it that don't exist, the deepest first."""
    missing = []
    for directory in _upwards(path):
        if os.path.isdir(directory):
            break
        missing.append(directory)
    return missing


def mark_as_ours(directory: str, mark: str = "1") -> None:
    """Note on the directory itself that we made it, so that whoever empties it last may remove it."""
    try:
        os.setxattr(directory, OURS, mark.encode())
    except OSError:
        pass  # a file system without attributes: then only the container that made it removes it


def is_ours(directory: str, mark: str = "1") -> bool:
    """True when we made this directory and marked it so."""
    try:
        return os.getxattr(directory, OURS, follow_symlinks=False) == mark.encode()
    except OSError:
        return False


def tree_of(directory: str) -> str:
    """The paths below `directory`, one a line."""
    lines = []
    for here, names, files in os.walk(directory):
        names.sort()
        lines += [os.path.relpath(os.path.join(here, name), directory) + "/" for name in names]
        lines += [os.path.relpath(os.path.join(here, name), directory) for name in files]
    return "\n".join(sorted(lines))


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        above = os.path.dirname(path)
        path = above if above != path else ""


def _remove_if_empty(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except (FileNotFoundError, NotADirectoryError):  # the second: not even its parent could be made
        return True
    except OSError as error:
        if error.errno == errno.EROFS and not os.path.lexists(directory):
            return True  # a read-only file system says so before it looks
        if error.errno not in (errno.ENOTEMPTY, errno.EBUSY, errno.EEXIST):
            raise
        return False
    return True


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass


def _line_of(target: str) -> str:
    mount = mounts.at(target)
    return mount.line if mount else ""
