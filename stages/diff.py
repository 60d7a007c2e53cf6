"""What one chapter has and another has not: options, verbs, and steps, each beside its line of shell."""

from difflib import SequenceMatcher

from stages import Rung, load, verbs
from stages.kernel.step import Step
from stages.show import PLACES, example

KEPT, OLD, NEW = "  ", "- ", "+ "


def lines(old: Rung, new: Rung) -> list[str]:
    """The difference from `old` to `new`, a line for a person at a time: `+` is in `new` only, `-` in `old` only."""
    found = [f"From {old.number} ({old.idea}) to {new.number} ({new.idea})."]
    found += _words("Options of run", _options(old), _options(new))
    found += _words("Verbs", sorted(verbs(old)), sorted(verbs(new)))
    changed = [verb for verb, owner in verbs(new).items() if verb in verbs(old) and verbs(old)[verb] is not owner]
    found += (
        ["", *(f"The verb {verb} is another one: {verbs(new)[verb].package}/" for verb in changed)] if changed else []
    )
    before, after = example(old), example(new)
    for place, a, b in zip(
        PLACES,
        (before.outside, before.started, before.inside),
        (after.outside, after.started, after.inside),
        strict=True,
    ):
        steps = _steps(a, b)
        found += ["", f"{place}:", *steps] if steps else []
    return found


def _options(rung: Rung) -> list[str]:
    stage = load(rung)
    return sorted(f"-{name}" for name in (*stage.all_options(), *stage.all_switches()))


def _words(title: str, old: list[str], new: list[str]) -> list[str]:
    marked = [f"{OLD}{word}" for word in old if word not in new] + [f"{NEW}{word}" for word in new if word not in old]
    return ["", f"{title}: {', '.join(marked)}"] if marked else []


def _steps(old: list[Step], new: list[Step]) -> list[str]:
    """The steps of one place: all of them when there is a difference, since it matters between which a new one stands."""
    found: list[str] = []
    codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    if all(code == "equal" for code, *_ in codes):
        return []
    for _, a, b, c, d in codes:
        if old[a:b] == new[c:d]:
            found += [f"{KEPT}{type(step).__name__}" for step in old[a:b]]
            continue
        for mark, steps in ((OLD, old[a:b]), (NEW, new[c:d])):
            for step in steps:
                found.append(f"{mark}{type(step).__name__}: {(type(step).__doc__ or '').partition(chr(10))[0]}")
                found += [f"{mark}    $ {line}" for line in step.shell().split("\n") if line]
    return found
