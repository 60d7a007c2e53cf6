"""What the harness raises when it can't do its work, which says nothing of the program under test."""


class WorldError(Exception):
    """A world can't be made, or can't do what was asked.  One sentence."""
