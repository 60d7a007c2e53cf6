"""The script of `commit`, in the chapters that have it."""

from stages import Rung
from stages.explain.script import Script
from stages.kernel import mounts
from stages.kernel.errors import Failure
from stages.kernel.places import Places
from stages.kernel.step import quoted

CANNOT = [
    "It holds a lock, so that nobody lets the container go on meanwhile, and tidies up after commits that were killed."
]
BYTES = "It compresses in pieces, on all processors, and copies what it can from the image. So the files are in another order."
KEPT = "--sparse --xattrs --xattrs-include='user.*' --xattrs-include=security.capability --acls"


def write(
    script: Script,
    rung: Rung,
    command: str,
    places: Places,
    mount_point: str,
    containers: dict[str, list[str]],
    image: str,
    gzip: bool = False,
    reproducible: bool = False,
) -> None:
    """Write down how what is seen at `mount_point` is packed; `containers` are who writes there, with their groups."""
    if mounts.at(mount_point) is None:
        raise Failure(f"nothing is mounted at {mount_point}, so there is nothing to pack (a reboot takes mounts away)")
    needs = ["tar, findutils", *(["gzip"] if gzip else [])]
    script.head(rung, command, needs, [*CANNOT, *([BYTES] if gzip else [])])
    tarball, directory = places.tarball(image), f"{places.hidden}/commit"
    script.plain("", f"mkdir -p -m 0700 {quoted(directory)}", f"new={quoted(f'{directory}/{image}.tar')}.$$")
    switches = [switch for groups in containers.values() if (switch := _switch(groups))]
    script.said(
        "Whatever happens, the container goes on afterwards.",
        "let_go() {",
        *(f"    echo {off} >{quoted(file)}" for file, _, off, _, _ in switches),
        "    :",
        "}",
        "trap 'let_go; rm -f \"$new\"' EXIT",
    )
    script.said(
        "The container stands still while it is packed, so that no file is half written. It takes a moment until all of it does.",
        *(f"echo {on} >{quoted(file)}" for file, on, _, _, _ in switches),
        *(
            f"until grep -qx {quoted(answer)} {quoted(where)}; do sleep 0.01; done"
            for _, _, _, where, answer in switches
        ),
    )
    script.said(
        "The merged view is packed as the host sees it, with what is mounted in it. Sorted, and with numbers for owners.",
        f"(cd {quoted(mount_point)} && find . -mindepth 1 -maxdepth 1 -printf '%P\\0' | sort -z |",
        f'    tar --null --files-from=- --sort=name --numeric-owner {KEPT} -c{"z" if gzip else ""}f "$new")',
        "let_go",
    )
    script.said(
        "Renamed when it is whole: until then the old image of that name stays as it was.",
        'sync "$new"',
        f'mv "$new" {quoted(tarball)}',
        "trap - EXIT",
        f"echo {quoted(tarball)}",
    )


def _switch(groups: list[str]) -> tuple[str, str, str, str, str] | None:
    """The file that freezes one of these groups, the words for on and off, and which line of which file says that it is done."""
    import os

    for group in groups:
        if os.path.exists(f"{group}/cgroup.freeze"):
            return f"{group}/cgroup.freeze", "1", "0", f"{group}/cgroup.events", "frozen 1"
        if os.path.exists(f"{group}/freezer.state"):
            return f"{group}/freezer.state", "FROZEN", "THAWED", f"{group}/freezer.state", "FROZEN"
    return None
