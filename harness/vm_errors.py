"""What goes wrong with the virtual machine, which says nothing of the program under test."""


class VMError(Exception):
    """The virtual machine can't be had, or was lost.  One sentence, with the way out."""
