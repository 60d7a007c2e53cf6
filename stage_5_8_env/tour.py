"""The tutorial's chapter 5.8, step by step: values given with -e, seen by the command, by the kernel, and by `exec`."""

from stages.tour import Guide, eventually, field, numbers

GIVEN = ["GREETING=hello", "WHO=you and  me = us"]
OPTIONS = [word for pair in GIVEN for word in ("-e", pair)]
SECRET = "SECRET=swordfish"


def perform(guide: Guide) -> None:
    """Act the chapter out."""
    guide.step(1, "Values given to a command")
    printed = guide.do("run", *OPTIONS, "busybox", "env").stdout.splitlines()
    guide.check("`env` shows both, as they were typed", set(GIVEN) <= set(printed))
    printed = guide.do("run", "busybox", "env").stdout.splitlines()
    guide.check("the next container, which is given none, has none", printed and not set(GIVEN) & set(printed))
    _detached(guide)
    _host(guide)
    _forged(guide)
    _refused(guide)


def _detached(guide: Guide) -> None:
    guide.step(2, "The same in a container that stays, and in a command that joins it")
    guide.do("run", "-d", "--name", "bird", *OPTIONS, "busybox", "sleep", "1000")
    pid = int(guide.ps()["bird"]["PID"] or 0)
    guide.need("bird runs", numbers(pid)[1:] == ["1"])
    guide.check("the kernel shows both in /proc/PID/environ", set(GIVEN) <= _environment(guide, pid))
    guide.check("`env` in `exec` shows both", set(GIVEN) <= set(guide.do("exec", "bird", "env").stdout.splitlines()))


def _environment(guide: Guide, pid: int) -> set[str]:
    return set(guide.show(f"tr '\\0' '\\n' </proc/{pid}/environ").splitlines())


def _host(guide: Guide) -> None:
    guide.step(3, "A secret in the host's environment")
    name, _, value = SECRET.partition("=")
    guide.say(f"\n# export {SECRET}")
    guide.environment[name] = value
    printed = guide.do("run", "busybox", "env").stdout.splitlines()
    guide.check(
        "`run` does not bring it along: there are PATH and HOME",
        [line.split("=")[0] for line in printed] == ["PATH", "HOME"],
    )
    printed = guide.do("exec", "bird", "env").stdout.splitlines()
    guide.check("`exec` does not either", printed and SECRET not in printed)
    del guide.environment[name]


def _forged(guide: Guide) -> None:
    guide.step(4, "A container that changes its own environment")
    guide.do(
        "run", "-d", "--name", "fox", "-e", "NAME=fox", "busybox", "sh", "-c", "exec env -i NAME=rabbit sleep 1000"
    )
    pid = int(guide.ps()["fox"]["PID"] or 0)
    eventually(lambda: field(pid, "Name") == "sleep")
    guide.need("the kernel shows what it has made of it", _environment(guide, pid) == {"NAME=rabbit"})
    record = guide.show(f'grep -o \'"NAME=[^"]*"\' {guide.state}/fox/config.json')
    printed = guide.do("exec", "fox", "env").stdout.splitlines()
    guide.check(
        "`exec` goes by what was asked for, which is in the record", record == '"NAME=fox"\n' and "NAME=fox" in printed
    )


def _refused(guide: Guide) -> None:
    guide.step(5, "What is no KEY=VALUE")
    refused = guide.do("run", "-e", "GREETING", "busybox", "env")
    guide.check("is refused, and the command does not run without it", refused.returncode != 0 and not refused.stdout)
