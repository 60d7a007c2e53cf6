"""The verb `run`: from the words on the command line to the spec, and from the spec to a container."""

import os
import time

from stages import options
from stages.kernel import container
from stages.kernel.errors import Failure
from stages.kernel.places import Places, check_image_name
from stages.kernel.spec import Spec
from stages.stage import Stage


def run(stage: Stage, places: Places, words: list[str]) -> int:
    """Run a container as `stage` does it and return the exit code.  Raises Failure, with nothing done."""
    spec = read(stage, places, words)
    if spec.image:
        from stages.kernel import images

        images.require(places, spec.image)
    code = container.run(spec, stage.program(spec))
    if spec.detached and stage.keeps_records:
        print(spec.name)
    return code


def read(stage: Stage, places: Places, words: list[str]) -> Spec:
    """The spec that the words after `run` ask for.  Raises Failure for anything bad in them; nothing is done here."""
    with_value, switches = stage.all_options(), stage.all_switches()
    found, rest = options.split("run", words, set(with_value), set(switches))
    image = ""
    if stage.takes_image:
        if not rest:
            raise Failure(f"run: the image is missing: {stage.run_usage()}")
        image, *rest = rest
        check_image_name(image)
    if not rest or not rest[0]:
        raise Failure(f"run: the command is missing: {stage.run_usage()}")
    if any("\0" in word for word in rest):
        raise Failure("run: no word of a command can hold a NUL byte")
    container_id = new_id()
    spec = Spec(container_id, container_id, places, rest)
    spec.image = image
    for name, value in found:
        (with_value.get(name) or switches[name])(spec, value)
    if stage.keeps_records:
        spec.created = time.strftime("%Y-%m-%d %H:%M:%S")
    stage.plan(spec)
    return spec


def new_id() -> str:
    """Ten digits, the first not a zero."""
    return str(10**9 + int.from_bytes(os.urandom(8), "big") % (9 * 10**9))
