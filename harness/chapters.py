"""The tutorial's chapters, in order, and which behaviour holds in which of them."""

CHAPTERS = (
    ("3.1", "run"),
    ("3.2", "cgroup"),
    ("3.3", "pipe"),
    ("4.1", "busybox"),
    ("4.2", "aufs"),
    ("4.3", "volume"),
    ("4.4", "package"),
    ("5.1", "detach"),
    ("5.2", "ps"),
    ("5.3", "logs"),
    ("5.4", "exec"),
    ("5.5", "stop"),
    ("5.6", "rm"),
    ("5.7", "commit"),
    ("5.8", "env"),
)
NUMBERS = tuple(number for number, _ in CHAPTERS)


def directory(number: str) -> str:
    """The name of a chapter's directory in this project: `stage_4_2_aufs` of 4.2."""
    return "stage_commit" if number == "5.7" else f"stage_{number.replace('.', '_')}_{dict(CHAPTERS)[number]}"


def number_of(chapter: str) -> str:
    """The number of a chapter given by number or word (`5.7`, `commit`, `stage_commit`).  Raises KeyError when there is none.

    Where two chapters share a word the later one has it.
    """
    for number, word in reversed(CHAPTERS):
        if chapter in (number, word, f"stage_{word}", directory(number)):
            return number
    raise KeyError(chapter)


def reaches(claimed: str, chapter: str) -> bool:
    """True when a program that goes up to the chapter `claimed` also has `chapter`."""
    return NUMBERS.index(claimed) >= NUMBERS.index(chapter)


def holds(claimed: str, since: str, until: str = "") -> bool:
    """True when what is documented in `since` and holds until (not in) the chapter `until` holds for a program at `claimed`."""
    return reaches(claimed, since) and not (until and reaches(claimed, until))
