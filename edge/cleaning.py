"""Cleans an utterance as *prepare* cleaned what the model was trained on.

Cleaning changes only what nobody sees: Unicode is brought to NFC, control and zero-width characters
(NUL, byte order marks, soft hyphens, direction marks) go, runs of any white space become one space.
It is idempotent and never rewrites words, casing or punctuation.
"""

from __future__ import annotations

import re
import unicodedata

# Control characters that are not white space, and format characters that have no width. Kept:
# the Arabic and other signs of category Cf that are visible, and the two joiners, see below.
INVISIBLE = (
    r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    r"\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_INVISIBLE = re.compile(f"[{INVISIBLE}]+")
_JOINERS = re.compile("[\u200c\u200d]+")


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
