"""What `-v` in front of the verb shows: each step as a line of shell, on standard error, and the tutorial's own log lines.

The container's process never writes here: its standard error may be the container's log already.
"""

from stages.kernel import foreground

enabled = False


def note(text: str) -> None:
    """Show `text`, which may have several lines, if it was asked for."""
    if enabled and text:
        for line in text.split("\n"):
            foreground.say(line)
