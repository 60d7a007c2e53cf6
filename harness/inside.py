"""Run a command in a world of its own, with our standard streams: `python -m harness.inside COMMAND…`.

pytest's workers are started by it, so that each of them has a machine for itself:

    pytest --dist load --tx "4*popen//python=python -m harness.inside python" tests/chapters
"""

import os
import sys

from harness.errors import WorldError
from harness.subjects import CHECKOUT
from harness.world import World


def main(argv: list[str]) -> int:
    """Run `argv` in a world, and return its exit code; 128 + n when signal n ended it, 125 when there can be no world."""
    try:
        with World(kept=(str(CHECKOUT), sys.prefix)) as world:
            code = world.lend(argv, dict(os.environ), os.getcwd())
    except WorldError as error:
        print(f"harness.inside: {error}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
