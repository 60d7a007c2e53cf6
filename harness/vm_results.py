"""What a run in the virtual machine leaves here: a directory with its output, JUnit, a page, and after a failure the guest's words."""

import html
import time
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path

from harness.vm_errors import VMError

STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% } td { padding: .15em .5em; border-bottom: 1px solid #ddd; vertical-align: top }
.passed { color: #176b2c } .failed { color: #b3261e } .skipped { color: #777 }
pre { background: #f6f6f4; padding: .7em; overflow-x: auto } td:last-child { text-align: right; color: #777 }
"""
MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}


def directory(checkout: Path) -> Path:
    """A new directory for a run's results.  Raises VMError."""
    parent = checkout / ".vagrant" / "results"
    made = parent / time.strftime("%Y-%m-%dT%H.%M.%S")
    try:
        made.mkdir(parents=True)
    except FileExistsError:  # within the same second
        time.sleep(1)
        return directory(checkout)
    except OSError as error:
        raise VMError(f"{made} can't be made: {error.strerror}") from None
    return made


def are_there(results: Path) -> bool:
    """Is there a file in the directory?"""
    return any(file.is_file() for file in results.glob("**/*"))


def write_page(results: Path) -> None:
    """Make report.html of all the JUnit files in the directory.  Raises OSError."""
    parts = [part for junit in sorted(results.glob("**/*.xml")) for part in _section(results, junit)]
    files = "".join(
        f'<li><a href="{html.escape(name, quote=True)}">{html.escape(name)}</a></li>'
        for file in sorted(results.glob("**/*"))
        if file.is_file() and (name := str(file.relative_to(results))) != "report.html"
    )
    title = f"In the virtual machine, {results.name.replace('T', ' ').replace('.', ':')}"
    (results / "report.html").write_text(
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>\n'
        f"<h1>{title}</h1>\n{''.join(parts) or '<p>No check has come to its end.</p>'}\n"
        f"<h2>Files</h2>\n<ul>{files}</ul>\n</html>\n"
    )


def _section(results: Path, junit: Path) -> Iterator[str]:
    yield f"<h2>{html.escape(str(junit.relative_to(results).with_suffix('')))}</h2>\n"
    try:
        cases = xml.etree.ElementTree.parse(junit).findall(".//testcase")
    except xml.etree.ElementTree.ParseError:
        yield "<p>This was cut off.</p>\n"
        return
    outcomes = [_outcome(case) for case in cases]
    counts = ", ".join(f"{outcomes.count(kind)} {kind}" for kind in MARKS if kind in outcomes)
    yield f"<p>{counts or 'nothing was checked'}</p>\n<table>\n"
    for case, outcome in zip(cases, outcomes, strict=True):
        name = html.escape(case.get("name", ""))
        words = "".join(
            f"<pre>{html.escape(each.text or '')}</pre>" for each in case if each.tag in ("failure", "error")
        )
        seconds = float(case.get("time") or 0)
        yield (f'<tr><td class="{outcome}">{MARKS[outcome]}</td><td>{name}{words}</td><td>{seconds:.1f} s</td></tr>\n')
    yield "</table>\n"


def _outcome(case: xml.etree.ElementTree.Element) -> str:
    tags = {each.tag for each in case}
    return "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
