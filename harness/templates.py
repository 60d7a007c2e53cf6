"""Templates: how a subject spells a verb, an option or a place, with placeholders in braces.

A template that begins with `$ ` is a command line of its own: of a verb it is what is run in the place of the program, of a
place it is what prints the path; {program} stands for the program's words there.  A brace that is meant is doubled, as in
Python's own formats.
"""

import shlex
import string
from collections.abc import Mapping

# The tutorial's own command line.  A verb's words may hold placeholders; {options} and {command} stand for several words.
VERBS = {
    "run": "run {options} {command}",
    "commit": "commit {image}",
    "ps": "ps",
    "logs": "logs {name}",
    "follow": "logs {name} -f",
    "exec": "exec {name} {command}",
    "stop": "stop {name}",
    "rm": "rm {name}",
}
VERBS_WITH_IMAGES = {**VERBS, "run": "run {options} {image} {command}", "commit": "commit {name} {image}"}
OPTIONS = {
    "terminal": "-ti",
    "detach": "-d",
    "foreground": "",
    "name": "--name {name}",
    "memory": "-m {memory}",
    "shares": "-cpushare {shares}",
    "cpuset": "-cpuset {cpuset}",
    "volume": "-v {host}:{inside}",
    "variable": "-e {variable}",
}
PLACES = {
    "tarball": "/root/{image}.tar",
    "image": "/root/{image}",
    "layer": "/root/writeLayer",
    "view": "/root/mnt",
    "record": "/var/run/zocker/{name}",
}
PLACES_WITH_IMAGES = {**PLACES, "layer": "/root/writeLayer/{name}", "view": "/root/mnt/{name}"}
# What a template has to hold, or the words would be lost.
NEEDED = {
    "run": {"options", "command"},
    "commit": {"image"},
    "exec": {"name", "command"},
    "logs": {"name"},
    "follow": {"name"},
    "stop": {"name"},
    "rm": {"name"},
    "name": {"name"},
    "memory": {"memory"},
    "shares": {"shares"},
    "cpuset": {"cpuset"},
    "volume": {"host", "inside"},
    "variable": {"variable"},
    "tarball": {"image"},
    "pid": {"name"},
    "load": {"tarball", "image"},
}
ALLOWED = {"options", "command", "image", "name", "program"}
OWN = "$ "


def filled(template: str, values: Mapping[str, "str | list[str]"]) -> list[str]:
    """The template's words, each placeholder filled in.  Split first, filled then: a value stays one word whatever it holds."""
    words: list[str] = []
    for word in shlex.split(template):
        whole = values.get(word[1:-1]) if word.startswith("{") and word.endswith("}") else None
        if isinstance(whole, list):
            words += whole
        else:
            words.append(word.format(**values))
    return words


def fault(template: str, needed: set[str], allowed: set[str]) -> str:
    """What is wrong with a template that needs these placeholders and may have those; empty when nothing is."""
    try:
        shlex.split(template)
        found = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        return str(error)
    if missing := sorted(needed - found):
        return f"the placeholder {{{missing[0]}}} is missing"
    if odd := sorted(found - allowed):
        return f"there is no placeholder {{{odd[0]}}}: there are {', '.join(sorted(allowed))}"
    return ""
