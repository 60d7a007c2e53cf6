"""JSON for records and journals, without importing `json`.

`json` pulls in `re` and costs 8 ms, as much as starting Python. The C parts under it are all that a record needs.
Bytes of a file name or an argument that are no UTF-8 travel as lone surrogates (PEP 383) and come back as they were.
"""

from _json import encode_basestring_ascii, make_encoder, make_scanner

type_of_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Rules:
    """What the C scanner asks its caller about."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = type_of_constant.__getitem__
    memo: dict[str, str] = {}


_scan = make_scanner(_Rules)  # type: ignore[arg-type]


def _refuse(value: object) -> object:
    raise TypeError(f"a record can't hold {type(value).__name__}: {value!r}")


# None, and then: for what JSON does not know, for texts, indentation, two separators; sort, skip odd keys, allow NaN.
_encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, False)


def dumps(value: object) -> str:
    """Write dicts, lists, strings, numbers, booleans and None as one line of JSON.

    Raises TypeError for anything else: records hold nothing else.
    """
    return "".join(_encode(value, 0))


def loads(text: str) -> object:
    """Read one JSON value.  Raises ValueError when `text` holds anything else or more."""
    text = text.strip()
    try:
        value, end = _scan(text, 0)
    except (
        StopIteration,
        SystemError,
        RecursionError,
        ImportError,
    ):  # the last three: what the C code makes of oddities
        raise ValueError("no JSON value") from None
    if end != len(text):
        raise ValueError(f"extra data after column {end}")
    return value
