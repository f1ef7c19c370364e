"""Cleans one utterance, or says why it cannot be used.

Cleaning changes only what nobody sees: Unicode is brought to NFC, control and zero-width
characters (NUL, byte order marks, soft hyphens, direction marks) go, runs of any white space
become one space. It is idempotent. It never rewrites words, casing or punctuation: a device
sees those too. A cell that a spreadsheet would evaluate is refused, never evaluated.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache

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

# Control characters that are not white space, and format characters that have no width. Kept:
# the Arabic and other signs of category Cf that are visible, and the two joiners, see below.
INVISIBLE = (
    r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    r"\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_INVISIBLE = re.compile(f"[{INVISIBLE}]+")
_JOINERS = re.compile("[\u200c\u200d]+")

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


def clean(text: str) -> str:
    """``text`` in NFC, without invisible characters, with single spaces."""
    if text.isascii() and text.isprintable():  # most utterances: only their spaces can be wrong
        untidy = "  " in text or text[:1] == " " or text[-1:] == " "
        return " ".join(text.split()) if untidy else text
    # NFC first: it turns some characters into ASCII ones, and joiners look at their neighbours
    text = " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())
    if "\u200c" in text or "\u200d" in text:
        text = " ".join(_JOINERS.sub(_joiner, text).split())
    return unicodedata.normalize("NFC", text)


def _joiner(match: re.Match[str]) -> str:
    """Keep one joiner where it shapes what is seen: inside Persian or Indic words and emoji."""
    text, start, end = match.string, match.start(), match.end()
    around = (text[start - 1] if start else " ") + (text[end] if end < len(text) else " ")
    shapes = not any(c.isascii() or c.isspace() for c in around)
    return match.group()[0] if shapes else ""


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
