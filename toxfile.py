"""What tox can't say in tox.ini: an environment whose engine is not installed is skipped, with the reason."""

import os

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.errors import Skip

from harness.engines import missing
from harness.subjects import find

ENGINES = ("docker", "podman")


@impl
def tox_before_run_commands(tox_env: ToxEnv) -> None:
    # In CI it goes on, and fails: there a check that can't be made is a failure, never a skip.
    if tox_env.conf.name in ENGINES and not os.environ.get("CI") and (sentence := missing(find(tox_env.conf.name))):
        raise Skip(sentence)
