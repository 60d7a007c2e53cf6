"""Which subjects a person means."""

from harness import chapters, engines, subjects
from harness.subjects import Subject, SubjectError


def chosen(names: list[str], chapter: str) -> list[Subject]:
    """The subjects by these names, as far as `chapter`; without a name our own: that chapter, or all.  Raises SubjectError.

    `ours` is our last chapter, or the one that is asked for.
    """
    if not names:
        return [subjects.of_stage(chapter)] if chapter else subjects.ladder()
    found: dict[str, Subject] = {}
    for name in names:
        one = subjects.of_stage(chapter or chapters.NUMBERS[-1]) if name == "ours" else subjects.find(name, chapter)
        if one.name in found:
            raise SubjectError(f"there are two subjects of the name {one.name!r}: each can be named once")
        if sentence := engines.missing(one):
            raise SubjectError(sentence)
        found[one.name] = one
    return list(found.values())
