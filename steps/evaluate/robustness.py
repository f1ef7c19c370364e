"""How much accuracy is lost when people slip: seeded perturbations of test utterances.

Each changes a text as a user, a keyboard or a speech recogniser would; the draw depends on the
seed and the text alone, so that adding rows changes nothing for the others. Left out: paraphrase
and noise that would need a model of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.evaluate.intervals import of_share
from steps.evaluate.metrics import Array

SAMPLE = 1000
"""At most this many in-scope test rows are perturbed."""

_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SOUNDALIKES = {
    "to": "two", "two": "to", "too": "to", "for": "four", "four": "for", "there": "their",
    "their": "there", "your": "you're", "you're": "your", "its": "it's", "it's": "its",
    "right": "write", "write": "right", "weather": "whether", "whether": "weather", "by": "buy",
    "buy": "by", "hear": "here", "here": "hear", "know": "no", "no": "know", "new": "knew",
    "one": "won", "won": "one", "our": "hour", "hour": "our", "week": "weak", "would": "wood",
    "mail": "male", "sale": "sail", "read": "red", "red": "read", "see": "sea", "be": "bee",
    "eight": "ate", "where": "wear", "wear": "where", "are": "our", "and": "an", "off": "of",
    "pause": "paws", "meet": "meat", "whole": "hole", "i'll": "isle", "high": "hi", "hi": "high",
    "wait": "weight", "weight": "wait", "fare": "fair", "fair": "fare", "male": "mail",
    "cash": "cache", "check": "cheque", "time": "thyme", "turn": "tern", "some": "sum",
    "way": "weigh", "need": "knead", "four's": "force", "night": "knight", "made": "maid",
}  # fmt: skip


def _neighbours() -> dict[str, str]:
    """The letters beside and diagonally under or over each letter of a QWERTY keyboard."""
    found: dict[str, str] = {}
    for row, keys in enumerate(_KEYBOARD):
        for column, key in enumerate(keys):
            near = [keys[column - 1 : column], keys[column + 1 : column + 2]]
            if row > 0:
                near.append(_KEYBOARD[row - 1][column : column + 2])
            if row < len(_KEYBOARD) - 1:
                near.append(_KEYBOARD[row + 1][max(column - 1, 0) : column + 1])
            found[key] = "".join(near)
    return found


_NEIGHBOURS = _neighbours()


def typos(text: str, draw: random.Random) -> str:
    """One slip for every ten characters, at least one: a near key, a swap, a loss, a doubling."""
    characters = list(text)
    for _ in range(max(1, len(text) // 10)):
        letters = [at for at, character in enumerate(characters) if character.isalpha()]
        if not letters:
            break
        at = draw.choice(letters)
        character = characters[at]
        slip = draw.choice(("near", "swap", "lose", "double"))
        if slip == "near" and character.lower() in _NEIGHBOURS:
            characters[at] = draw.choice(_NEIGHBOURS[character.lower()])
        elif slip == "swap" and at + 1 < len(characters):
            characters[at], characters[at + 1] = characters[at + 1], character
        elif slip == "lose" and len(letters) > 1:
            del characters[at]
        else:
            characters.insert(at, character)
    return "".join(characters)


def dropped_words(text: str, draw: random.Random) -> str:
    """One word in five is left out, at least one, never all."""
    words = text.split()
    if len(words) < 2:
        return text
    lost = set(draw.sample(range(len(words)), max(1, len(words) // 5)))
    return " ".join(word for at, word in enumerate(words) if at not in lost)


def casing(text: str, draw: random.Random) -> str:
    """All capitals, a capital at each word, or capitals anywhere."""
    style = draw.choice(("upper", "title", "any"))
    if style == "upper":
        return text.upper()
    if style == "title":
        # not title(), which makes What'S of what's
        return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))
    return "".join(draw.choice((c.upper(), c.lower())) for c in text)


def misheard(text: str, draw: random.Random) -> str:
    """As a speech recogniser writes: lower case, no punctuation, a word that sounds alike."""
    words = text.lower().split()
    alike = [at for at, word in enumerate(words) if word.strip(",.?!") in _SOUNDALIKES]
    if alike:
        at = draw.choice(alike)
        words[at] = _SOUNDALIKES[words[at].strip(",.?!")]
    plain = "".join(c for c in " ".join(words) if c.isalnum() or c.isspace())
    return plain if plain.strip() else text


PERTURBATIONS: dict[str, Callable[[str, random.Random], str]] = {
    "typos": typos,
    "dropped_words": dropped_words,
    "casing": casing,
    "misheard": misheard,
}


def perturbed(name: str, texts: Sequence[str], seed: int) -> list[str]:
    """``texts`` under the perturbation ``name``."""
    change = PERTURBATIONS[name]
    # repeatable slips, no secrets
    return [change(text, random.Random(f"{seed}:{name}:{text}")) for text in texts]  # noqa: S311


@dataclass(frozen=True)
class Sample:
    """The in-scope test rows that are perturbed."""

    texts: list[str]
    labels: Array

    @classmethod
    def draw(cls, texts: Sequence[str], labels: Array, seed: int) -> Sample:
        """At most :data:`SAMPLE` of the in-scope rows, in their order."""
        rows = np.flatnonzero(labels >= 0)
        if len(rows) > SAMPLE:
            rows = np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False))
        return cls([texts[row] for row in rows.tolist()], labels[rows])


Predictor = Callable[[list[str]], Array]
"""Texts to predicted labels."""


def measure(sample: Sample, predictors: dict[str, Predictor], seed: int) -> dict[str, Any]:
    """Accuracy of each predictor on the sample as it stands and under each perturbation.

    Returns:
        ``{"rows": n, "perturbations": {name: {predictor: interval, "changed": share,
        "example": {"before", "after"}}}}``; the name ``none`` is the sample as it stands.
    """
    found: dict[str, Any] = {}
    for name in ("none", *PERTURBATIONS):
        texts = sample.texts if name == "none" else perturbed(name, sample.texts, seed)
        changed = [at for at, text in enumerate(texts) if text != sample.texts[at]]
        entry: dict[str, Any] = {"changed": len(changed) / len(texts)}
        for predictor, predict in predictors.items():
            entry[predictor] = of_share(predict(texts) == sample.labels, seed).to_json()
        if changed:
            before, after = _example(sample.texts, texts, changed)
            entry["example"] = {"before": before, "after": after}
        found[name] = entry
    return {"rows": len(sample.texts), "perturbations": found}


def _example(before: list[str], after: list[str], changed: list[int]) -> tuple[str, str]:
    """The changed text whose length is nearest to what fits a line of the report."""
    at = min(changed, key=lambda row: abs(len(before[row]) - 32))
    return before[at], after[at]
