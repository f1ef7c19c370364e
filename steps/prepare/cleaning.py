"""Cleans one utterance, or says why it cannot be used.

The cleaning itself is the device's (:mod:`edge.cleaning`): a model must be trained on what it will
be asked. A cell that a spreadsheet would evaluate is refused, never evaluated.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache

from edge.cleaning import clean

UNDECODABLE = "undecodable"
EMPTY = "empty"
OVER_LONG = "over_long"
FORMULA = "formula"
NO_INTENT = "no_intent"
UNKNOWN_SPLIT = "unknown_split"

SPLITS = ("train", "validation", "test")
_SPLIT_NAMES = {name: name for name in SPLITS} | dict.fromkeys(
    ("val", "valid", "dev"), "validation"
)

# What a spreadsheet would evaluate: a call (=HYPERLINK(…), @SUM(…), -cmd(…)), a DDE link
# (=cmd|'…'!A1) or arithmetic on cells and numbers (=A1+B2). "-5 degrees", "+1 for jazz" and
# "@home turn it off" are utterances. The list of leading characters is OWASP's ("CSV Injection").
_FORMULA = re.compile(
    r"[=+\-@]\s?[A-Za-z_][\w.]*\(" r"|[=+\-@]\s?\w+\|" r"|=\s?[\w$.\"]+\s?[-+*/&^!:<>]\s?[\w$.('\"]"
)

_ASCII_PUNCTUATION = bytes(ord(c) for c in string.punctuation if unicodedata.category(c)[0] == "P")
_DELETED_ASCII = _ASCII_PUNCTUATION + b"` \t\n\r\v\f"


class _Deletions(dict[int, int | None]):
    """For str.translate: punctuation, separators and invisible characters vanish."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        deleted = unicodedata.category(character)[0] in "PZC" or character in "`´\t\n\r\v\f\x85"
        self[code] = None if deleted else code
        return self[code]


_DELETIONS = _Deletions()


def normalise(text: str) -> bytes:
    """What two texts must share to be duplicates: casefolded, no punctuation, no white space.

    A text of nothing but punctuation stands for itself.
    """
    if text.isascii():
        key = text.lower().encode("ascii").translate(None, _DELETED_ASCII)
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        key = folded.translate(_DELETIONS).encode("utf-8")
    return key or text.casefold().encode("utf-8")


def refuse(text: str, max_characters: int) -> str | None:
    """The reason for which a cleaned text goes to quarantine, or None."""
    if not text:
        return EMPTY
    if len(text) > max_characters:
        return OVER_LONG
    if text[0] in "=+-@" and _FORMULA.match(text):
        return FORMULA
    return None


def decodable(text: str) -> bool:
    """Whether ``text`` is free of surrogates: bytes that were no UTF-8, halves of characters."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=4096)
def clean_intent(intent: str | None) -> tuple[str, str | None]:
    """The intent's cleaned name and the reason to refuse it, if there is one."""
    if intent is None:
        return "", NO_INTENT
    if not decodable(intent):
        return "", UNDECODABLE
    name = clean(intent)
    if not name:
        return "", NO_INTENT
    return name, FORMULA if name[0] in "=+-@" and _FORMULA.match(name) else None


@lru_cache(maxsize=4096)
def clean_split(split: str | None) -> tuple[str | None, str | None]:
    """The published split (None: not published) and the reason to refuse it, if there is one."""
    if split is None or not split.strip():
        return None, None
    name = _SPLIT_NAMES.get(split.strip().lower())
    return name, None if name else UNKNOWN_SPLIT


@lru_cache(maxsize=4096)
def clean_locale(locale: str | None) -> str | None:
    """The locale's tag, or None; one that cannot be decoded is as good as none."""
    return (clean(locale) or None) if locale is not None and decodable(locale) else None
