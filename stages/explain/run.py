"""The script of `run`."""

import os

from stages import Rung, load
from stages.explain.script import CLOSE, MARK, SWEEP, Script, others, undone
from stages.kernel import images, inside, jsontext, steps
from stages.kernel.container import header, name_in_use
from stages.kernel.places import Places
from stages.kernel.spec import Program, Spec
from stages.kernel.step import Step, quoted
from stages.run import read

CANNOT = [
    "It holds a lock while it works, so that many may start at once, and what shares a layer is never removed meanwhile.",
    "It reports when the command could not be executed. Here the container has then just ended.",
    "It closes every file that whoever called it had left open. A shell can close those below 10.",
]

WAIT = """\
code=0
while kill -0 "${pid}" 2>/dev/null; do code=0; wait "${pid}" || code=$?; done"""


def write(script: Script, rung: Rung, command: str, places: Places, words: list[str]) -> None:
    """Write down a run as the chapter does it.  Raises Failure, as the run would."""
    stage = load(rung)
    spec = read(stage, places, words)
    if os.path.lexists(places.home(spec.name)):
        raise name_in_use(spec.name)
    program = stage.program(spec)
    needs = ["tar", "and in the image mount, umount, mkdir, mknod, ln and env"] if spec.rootfs else []
    script.head(rung, command, needs, CANNOT)
    script.plain("", f"home={quoted(places.home(spec.name))}", "", MARK, "", SWEEP)
    if spec.shared:
        script.plain("", *others(places.containers))
    _inside(script, program)
    _begin(script, spec, program)
    _parent(script, spec, program)
    script.section("What undoes it, last first: in the end, and when something fails")
    script.plain("undo() {", *undone([(step, _look(step)) for step in program.outside]))
    script.plain('rm -f "$home/journal"', 'rmdir "$home"', "}")
    script.plain("", "# Each process that is started below runs its own part of this very file.")
    script.plain('case ${1-} in inside | begin | parent) "$1"; exit ;; esac')
    script.plain('[ -f "$0" ] || { echo "save this to a file, and run it by: sh FILE" >&2; exit 125; }')
    script.section("On the host, before there is a process")
    _claim(script, spec, program)
    if spec.image:
        _image(script, places, spec.image)
    for number, step in enumerate(program.outside):
        if isinstance(step, steps.UnpackImage):
            _unpack(script, step)
            continue
        if number >= _first_volume(program):
            _journal_now(script, step)
        script.step(step)
        _mark(script, step)
    _start(script, spec)
    if not spec.detached:
        script.plain('exit "$code" # and before that, undo')
    elif stage.keeps_records:
        script.plain("", f"echo {quoted(spec.name)}")


def _claim(script: Script, spec: Spec, program: Program) -> None:
    script.said(
        "mkdir succeeds for one of many who want the same name: that one has it.",
        f"mkdir -p -m 0700 {quoted(spec.places.containers)}",
        'mkdir -m 0700 "$home"',
        "trap undo EXIT",
        "trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM",
    )
    first = quoted(jsontext.dumps(header(spec)))
    script.said(
        "The journal: what is going to be done, so that it can be undone from this file alone, whatever happens. It names the boot"
        " and the mount namespace, for after a reboot all mounts are gone by themselves.",
        "(",
        "umask 077",
        "{",
        f"""printf '{{"container": %s, "boot": "%s", "mount_namespace": "%s"}}\\n' {first} \\""",
        '    "$(cat /proc/sys/kernel/random/boot_id)" "$(readlink /proc/self/ns/mnt)"',
        "cat <<'JOURNAL'",
        *(_line(step) for step in program.outside[: _first_volume(program)]),
        "JOURNAL",
        '} >"$home/journal"',
        ")",
    )


def _line(step: Step) -> str:
    return jsontext.dumps({"step": type(step).__name__, "fields": step.fields(), "before": _look(step)})


def _look(step: Step) -> dict[str, object]:
    return {} if isinstance(step, steps.Volume) else step.look()


def _first_volume(program: Program) -> int:
    """Which of the outside steps is the first for a volume: from there on the journal is written step by step."""
    kinds = [isinstance(step, steps.HostDirectory) for step in program.outside]
    return kinds.index(True) if True in kinds else len(kinds)


def _journal_now(script: Script, step: Step) -> None:
    if not isinstance(step, steps.Volume):
        script.plain("", f"""printf '%s\\n' {quoted(_line(step))} >>"$home/journal\"""")
        return
    fields = quoted(jsontext.dumps(step.fields()))
    script.said(
        "A volume is found again by what is mounted, not by where: into the journal goes its device and inode.",
        f"""printf '{{"step": "Volume", "fields": %s, "before": {{"device": %s, "inode": %s}}}}\\n' {fields} \\""",
        f'    $(stat -L -c "%d %i" {quoted(step.source)}) >>"$home/journal"',
    )


def _image(script: Script, places: Places, image: str) -> None:
    if images.exists(places, image):
        return
    if image != "busybox":
        images.require(places, image)  # says that there is none
    from stages.kernel.busybox import find_static_busybox

    tarball, busybox = quoted(places.tarball(image)), quoted(find_static_busybox())
    script.said(
        "There is no image yet: it is made of this machine's static busybox, which needs no library and is many programs in one.",
        "made=$(mktemp -d)",
        'for name in bin dev etc home proc root sys tmp usr var; do mkdir "$made/$name"; done',
        'chmod 0755 "$made"; chmod 1777 "$made/tmp"; chmod 0700 "$made/root"; chmod 0555 "$made/proc" "$made/sys"',
        f'cp {busybox} "$made/bin/busybox"',
        f'for name in $({busybox} --list); do ln -s busybox "$made/bin/$name" 2>/dev/null || :; done',
        r"""printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$made/etc/passwd" """.rstrip(),
        r"""printf 'root:x:0:\nnogroup:x:65534:\n' >"$made/etc/group" """.rstrip(),
        f'(cd "$made" && tar --numeric-owner -cf {tarball}.new -- *) && mv {tarball}.new {tarball}',
        'rm -r "$made"',
    )


def _mark(script: Script, step: Step) -> None:
    if isinstance(missing := _look(step).get("missing"), list) and missing:
        script.plain(f"mark 1 {quoted(*missing)}")
    if isinstance(step, steps.RecordDirectory):
        script.plain(f"mark {step.container_id} {quoted(step.path)}")


def _unpack(script: Script, step: steps.UnpackImage) -> None:
    script.step(step)
    if images.is_current(step.tarball, step.directory):
        return
    tarball, directory = quoted(step.tarball), quoted(step.directory)
    stamped = images.stamp_of(step.directory)
    if os.path.isdir(step.directory) and not stamped:
        return  # made by hand: it stays as it is
    if stamped:
        script.lines.pop()
        old = quoted(images.old_copies(step.hidden))
        script.plain(
            "# The tarball is another one than this directory was made from. Who has the old copy as a layer still reads it.",
            f"if grep -Fq lowerdir={directory}, /proc/self/mountinfo; then",
            f'    mkdir -p {old} && mv {directory} {old}/{quoted(os.path.basename(step.directory))}."$$"',
            "else",
            f"    rm -rf --one-file-system {directory}",
            "fi",
            f"mkdir {directory} && tar -C {directory} -xf {tarball}",
        )
    script.plain(
        "# A stamp says which tarball it was made from: when that changes, it is made anew.",
        f"stamp=\"[[$(stat -c '%d, %i, %s, %.9Y, %.9Z' {tarball} | tr -d .)], $(stat -c %i {directory})]\"",
        f'setfattr -n {images.STAMP} -v "$stamp" {directory}',
    )


def _inside(script: Script, program: Program) -> None:
    """What the container's process does when its namespaces are new."""
    script.section("In the container's process: what its PID 1 does before it becomes the command")
    script.plain("inside() {")
    for step in program.inside:
        if isinstance(step, inside.Execute):
            script.plain("", "# The command is to have no file open but these three.", CLOSE)
        if not isinstance(step, inside.Terminal | inside.Streams | inside.Namespaces | inside.ReceiveCommand):
            script.step(step)
    script.plain("}")


def _begin(script: Script, spec: Spec, program: Program) -> None:
    """What that process does before: into its groups and namespaces."""
    script.section("The same process, earlier: into its control groups and namespaces; exec keeps its number")
    script.plain("begin() {")
    for join in program.started:
        if isinstance(join, steps.JoinCgroup):
            script.said(
                f"{join.why} (0 stands for whoever writes it.)",
                *(f"echo 0 >{quoted(group + '/cgroup.procs')}" for group in join.groups),
            )
    for step in program.inside:
        if isinstance(step, inside.Namespaces | inside.Streams | inside.Terminal):
            script.plain("")
            script.comment(step.why)
    kinds = {"mnt": "mount"}
    flags = " ".join(f"--{kinds.get(kind, kind)}" for kind in spec.namespaces if kind != "pid")
    session = "" if spec.terminal else "setsid "
    script.plain(f'exec {session}unshare {flags} --propagation unchanged sh "$0" inside', "}")


def _parent(script: Script, spec: Spec, program: Program) -> None:
    """What its parent does: write down who it is, and wait for it if somebody is to."""
    script.section("Its parent")
    script.plain("parent() {")
    if not spec.detached:
        script.comment("A signal to this shell is for the container's command.")
        script.plain("trap 'kill -TERM \"$pid\"' TERM; trap 'kill -HUP \"$pid\"' HUP")
    script.comment(
        "`&` makes a shell's child ignore what is typed at a terminal, and takes its input away: env and <&6 give both back."
    )
    deaths = "" if spec.detached else "setpriv --pdeathsig KILL "
    script.plain(f'env --default-signal {deaths}sh "$0" begin {_streams(spec)} 6<&- &', "pid=$!")
    script.comment(
        "Only what the shell does itself from here on: every child of this shell would be born into the container."
    )
    script.plain(
        'read -r stat <"/proc/$pid/stat"',
        "set -- ${stat##*) }",
        "start=${20} # when the process started: with this its number can't be mistaken for a later one's",
        """printf '{"pid": %s, "start_time": %s}\\n' "$pid" "$start" >>"$home/journal\"""",
    )
    for step in program.started:
        if isinstance(step, steps.WriteRecord):
            script.comment(step.why)
            script.plain(_record(step))
    if not spec.detached:
        script.plain(WAIT.format(pid="pid"), 'exit "$code"')
    script.plain("}")


def _start(script: Script, spec: Spec) -> None:
    script.section("Start it")
    script.comment("unshare moves only the children to come into the new pid namespace: the next one is its PID 1.")
    if spec.detached:
        script.comment("When this shell ends, the kernel gives its child to PID 1 (or to the nearest subreaper).")
        script.comment(
            "The pipe behind 8 is closed by the container's process when only the command is left to be executed: $(…) waits for that."
        )
        script.plain("exec 6<&0 7>&1", ': "$(unshare --pid sh "$0" parent 8>&1 >&7 7>&-)"')
        script.plain("trap - EXIT HUP INT TERM # it runs: nothing is undone from here on")
        return
    script.plain(
        "trap 'kill -TERM \"$parent\"' TERM; trap 'kill -HUP \"$parent\"' HUP; trap : INT QUIT",
        "exec 6<&0",
        'setpriv --pdeathsig KILL unshare --pid sh "$0" parent <&6 &',
        "parent=$!",
        WAIT.format(pid="parent"),
    )


def _streams(spec: Spec) -> str:
    words = [f"<{quoted(spec.stdin)}" if spec.stdin else "<&6"]
    return " ".join(words + ([f">>{quoted(spec.output)}", "2>&1"] if spec.output else []))


def _record(step: steps.WriteRecord) -> str:
    """config.json: its fields as they are, the process's in the places kept for them."""
    before, after = jsontext.dumps({**step.record, "pid": "\0"}).split('"\\u0000"', 1)
    assert after.endswith("}")
    path = quoted(step.path)
    return "\n".join(
        [
            "read -r boot </proc/sys/kernel/random/boot_id",
            "umask 077",
            f"""printf '%s"%s"%s, "start_time": %s, "boot_id": "%s"}}\\n' {quoted(before)} "$pid" {quoted(after[:-1])} \\""",
            f'    "$start" "$boot" >{path}',
        ]
    )
