"""Which version of control groups limits what a container may use on this machine."""

from harness import init


def cgroup_version() -> str:
    """`v1` or `v2`: that of the hierarchy that limits memory.  Also where both are mounted only one of them does."""
    return "v1" if any("memory" in controllers.split(",") for _, controllers in init.cgroup_mounts()) else "v2"
