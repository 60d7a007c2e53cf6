"""The words after a verb.  A table and a loop: argparse would cost 8 ms, and would take the user's own flags for ours."""

from stages.kernel.errors import Failure


class HelpWanted(Exception):
    """Among the words was -h or --help."""


def split(
    verb: str, words: list[str], with_value: "set[str]", switches: "set[str]", anywhere: bool = False
) -> tuple[list[tuple[str, str]], list[str]]:
    """Split `words` into our options, as (name, value) in their order, and the rest.

    `-name` and `--name` mean the same, and so do `-m 100m` and `-m=100m`.  Our options end at the first word that is none,
    or at `--`: all behind it is the user's, untouched.  With `anywhere` they may also stand behind other words.
    Raises Failure for an option that the verb doesn't have.
    """
    found: list[tuple[str, str]] = []
    rest: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if word == "--":
            return found, rest + words[place:]
        if len(word) < 2 or not word.startswith("-"):
            rest.append(word)
            if anywhere:
                continue
            return found, rest + words[place:]
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name in switches and not equals:
            found.append((name, ""))
        elif name in with_value:
            if not equals:
                if place == len(words):
                    raise Failure(f"{verb}: {word} needs a value behind it")
                value = words[place]
                place += 1
            found.append((name, value))
        elif name in ("h", "help"):
            raise HelpWanted
        elif name == "explain":
            raise Failure(f"--explain stands right behind the verb: `{verb} --explain ...`")
        else:
            raise Failure(f"{verb} has no option {word.partition('=')[0]}: see `{verb} --help`")
    return found, rest


def names(verb: str, rest: list[str]) -> list[str]:
    """`rest` as one or more container names.  Raises Failure when there is none."""
    if not rest:
        raise Failure(f"{verb}: the container's name is missing: `ps` lists them")
    return rest


def one_name(verb: str, rest: list[str]) -> str:
    """`rest` as exactly one container's name.  Raises Failure."""
    if len(names(verb, rest)) > 1:
        raise Failure(f"{verb} takes one container, not {len(rest)}: {' '.join(rest)}")
    return rest[0]


def nothing(verb: str, words: list[str]) -> None:
    """Raise Failure when a verb that takes no words got some."""
    if words:
        raise Failure(f"{verb} takes nothing behind it, not {' '.join(words)!r}")
