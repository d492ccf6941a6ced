"""JSON whose end was cut off: closed again, so that what is left of it can be read. Pure."""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+("?)|[\[\]{}]', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}
# a cut may fall within \\u00e9: at most its five characters are given up
_ESCAPE = 6


def complete(text: str) -> str:
    """Return the text with its open string, lists and objects closed; unchanged where that does not make it JSON.

    A cut almost always falls into the one long string of a message. A cut elsewhere gives up what follows the last whole value.
    """
    closing: list[str] = []
    in_string = False
    ends: list[tuple[int, str]] = []
    for token in _TOKEN.finditer(text):
        found = token.group()
        if found in _CLOSING:
            closing.append(_CLOSING[found])
            ends.append((token.end(), "".join(reversed(closing))))
        elif found in ("}", "]"):
            if not closing or closing.pop() != found:
                return text
            ends.append((token.end(), "".join(reversed(closing))))
        else:
            in_string = not token.group(1)
            if not in_string:
                ends.append((token.end(), "".join(reversed(closing))))
    tail = "".join(reversed(closing))
    if in_string:
        for given_up in range(_ESCAPE):
            part = text[: len(text) - given_up]
            for end in ('"', '":null'):
                if _is_json(whole := f"{part}{end}{tail}"):
                    return whole
    if _is_json(whole := f"{text}{tail}"):
        return whole
    for at, close in reversed(ends[-8:]):
        for link in ("", ":null"):
            if _is_json(whole := f"{text[:at]}{link}{close}"):
                return whole
    return text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
