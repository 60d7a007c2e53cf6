"""How long the harness waits for what a program owes it.

All waits end as soon as the thing is there, so only a check that fails takes that long.  The tests of the checks make
hundreds of them fail, and have less patience.
"""

import os
import time

# In the virtual machine's software emulation all is so much slower. `--patience` sets another one.
factor = 5.0 if os.environ.get("STAGES_IN_VM") else 1.0


def until(seconds: float) -> float:
    """When to give up, on the clock of `time.monotonic`, after as many seconds as would be allowed with full patience."""
    return time.monotonic() + seconds * factor
