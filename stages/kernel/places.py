"""Where things are: the tutorial's paths, moved by ZOCKER_ROOT and ZOCKER_STATE."""

import os

from stages.kernel.errors import Failure

NAME_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
RESERVED_IMAGES = ("mnt", "writeLayer")
RESERVED_CONTAINERS = ("network",)  # that directory of the state holds the networks


class Places:
    """`root` holds images, write layers and mount points; `state` holds a record for each container."""

    def __init__(self, root: str, state: str) -> None:
        self.root = os.path.realpath(_absolute(root, "ZOCKER_ROOT"))  # as the kernel's table of mounts will name it
        self.state = os.path.normpath(_absolute(state, "ZOCKER_STATE"))
        self.hidden = f"{self.root.rstrip('/')}/.zocker"
        self.containers = f"{self.hidden}/containers"

    def below_root(self, name: str) -> str:
        """The path of `name` in the root."""
        return f"{self.root.rstrip('/')}/{name}"

    def tarball(self, image: str) -> str:
        """The image as it is kept and given away."""
        return self.below_root(f"{image}.tar")

    def home(self, container: str) -> str:
        """Where the container's journal is. Making this directory is what claims the name."""
        return f"{self.containers}/{container}"

    def record(self, container: str) -> str:
        """The container's directory of the tutorial, with config.json and container.log in it."""
        return f"{self.state.rstrip('/')}/{container}"


def _absolute(path: str, variable: str) -> str:
    if not path.startswith("/") or "\n" in path:
        raise Failure(f"{variable} must be an absolute path, not {path!r}")
    return path


def from_environment(environment: "os._Environ[str] | dict[str, str]") -> Places:
    """The places that the environment asks for, else the tutorial's."""
    return Places(environment.get("ZOCKER_ROOT") or "/root", environment.get("ZOCKER_STATE") or "/var/run/zocker")


def check_name(name: str, what: str) -> str:
    """Return `name` when it can be a file's name and nothing else; raises Failure otherwise.

    `..`, a slash or an empty name would lead out of the directories in which the names live.
    """
    good = 1 <= len(name) <= 64 and name[0] in NAME_ALPHABET and all(c in NAME_ALPHABET + "_.-" for c in name)
    if not good:
        raise Failure(
            f"{name!r} can't be the name of {what}: a letter or digit first, then letters, digits, '_', '.' or '-', at most 64"
        )
    return name


def check_new_container(name: str) -> str:
    """Like `check_name`, and not a directory that the state has for something else."""
    if check_name(name, "a container") in RESERVED_CONTAINERS:
        raise Failure(f"{name!r} can't be the name of a container: that directory holds something else")
    return name


def check_image_name(name: str) -> str:
    """Like `check_name`, and not one of the root's own directories."""
    if check_name(name, "an image") in RESERVED_IMAGES:
        raise Failure(f"{name!r} can't be the name of an image: that directory holds the containers' own files")
    return name
