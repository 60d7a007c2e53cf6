"""What a container is to be, before anything is done: the spec that the steps are made from."""

from stages.kernel.places import Places
from stages.kernel.step import Step

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ALL_NAMESPACES = ["ipc", "uts", "net", "pid", "mnt"]


class Spec:
    """One container.

    Who      `name`, `container_id` (10 digits), `places`.
    Root     `rootfs`: the directory that becomes /, empty for the host's own root; `image`, `image_dir`, `write_layer`,
             `work`, `mount_point`: the layers it is made of; `shared`: all containers have this one layer and mount.
    Mounts   `volumes`: pairs of a host path and a path in the container.
    Spaces   `namespaces`: the kinds that are new; `joins`, `joins_since`: the process (pid, start time in ticks) whose namespaces
             are joined instead; 0 for none.
    Process  `words` the command, `environment` as KEY=VALUE, `directory` where it starts (empty: where the caller is).
    Limits   `memory` in bytes, `cpu_shares`, `cpuset`; 0 and empty for none; `groups`: its control groups' directories.
    Input    `terminal`: the caller's is passed through; `stdin`, `output`: files instead, empty for the caller's own.
             `detached`: nobody waits for it.
    """

    def __init__(self, name: str, container_id: str, places: Places, words: list[str]) -> None:
        self.name, self.container_id, self.places, self.words = name, container_id, places, words
        self.image = self.image_dir = self.rootfs = self.write_layer = self.work = self.mount_point = ""
        self.shared = False
        self.volumes: list[tuple[str, str]] = []
        self.namespaces = list(ALL_NAMESPACES)
        self.joins = self.joins_since = 0
        self.environment = [f"PATH={DEFAULT_PATH}", "HOME=/root"]
        self.directory = ""
        self.memory = self.cpu_shares = 0
        self.cpuset = ""
        self.groups: list[str] = []
        self.terminal = False
        self.stdin = self.output = ""
        self.detached = False
        self.created = ""


class Program:
    """The steps of one run, in the three places where they are done.

    `outside` by the runtime, before there is a process; `inside` by the container's process; `started` by the runtime, while
    that process waits (or already runs, in the chapters that don't let it wait yet).
    """

    def __init__(self, outside: list[Step], started: list[Step], inside: list[Step]) -> None:
        self.outside, self.started, self.inside = outside, started, inside

    def all(self) -> list[Step]:
        """Every step, as a reader would follow them."""
        return [*self.outside, *self.started, *self.inside]
