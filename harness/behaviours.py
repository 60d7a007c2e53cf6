"""Which checks there are, read from their source: a subject's file may name any of them, also when only some are made."""

import ast
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent.parent / "tests" / "behaviours"


def checks() -> dict[str, list[str]]:
    """The names of the checks (`rm` of `test_rm`) by the number of their behaviour (`D19`) or defect (`F1`), in order."""
    found: dict[str, list[str]] = {}
    for file in sorted(DIRECTORY.glob("test_*.py")):
        functions = [each for each in ast.parse(file.read_text()).body if isinstance(each, ast.FunctionDef)]
        for function in functions:
            for mark in function.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.behaviour":
                    number = ast.literal_eval(mark.args[0])
                    found.setdefault(number, []).append(function.name.removeprefix("test_"))
    return dict(sorted(found.items(), key=lambda pair: (pair[0][0], int(pair[0][1:]))))
