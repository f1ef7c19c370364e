"""The champion, which is the newest approved model of the group, on the same test rows.

The question is not which of two close figures is larger but whether the champion is *better*
beyond chance: a one-sided exact McNemar test on the rows where the two disagree. A champion that
cannot be read ends the job: to go on without it would open the gate in silence.

Left out: rows that the champion was trained on. Splits are by hash, so that a row of today's
test split was in no earlier train split of the same data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steps.archive import model_folder
from steps.contract import StepError
from steps.evaluate import regression
from steps.evaluate.metrics import Array

if TYPE_CHECKING:
    from steps.registry import ModelPackage, Registry
    from steps.regression.cases import Case
    from steps.regression.judging import Outcome


@dataclass(frozen=True)
class Comparison:
    """The candidate and the champion on the same in-scope rows."""

    champion_alone_right: int
    candidate_alone_right: int
    p_value: float
    """Probability of so many rows that the champion alone got right, were both equally good."""


def mcnemar(candidate_right: Array, champion_right: Array) -> Comparison:
    """One-sided exact McNemar test (McNemar 1947) that the champion is better; 1 at no row apart.

    Under equality each row on which the two disagree is a fair coin.
    """
    from scipy.stats import binom

    champion = int((champion_right & ~candidate_right).sum())
    candidate = int((candidate_right & ~champion_right).sum())
    # P(X >= champion), X ~ Binomial(rows apart, 1/2)
    p_value = float(binom.sf(champion - 1, champion + candidate, 0.5))
    return Comparison(champion, candidate, min(1.0, p_value))


@dataclass(frozen=True)
class Champion:
    """The champion's answers to the test rows, in the candidate's labels."""

    package: ModelPackage
    predicted: Array
    """Label of each row; -2 where the champion's intent is none of the candidate's."""
    energy: Array
    dataset_sha256: str
    regression: list[Outcome]
    """What becomes of the regression set with the champion; empty where there is none."""


def score(
    registry: Registry,
    texts: list[str],
    intents: list[str],
    scratch: Path,
    cases: Sequence[Case] = (),
) -> Champion | None:
    """Download the champion, if there is one, and let it answer ``texts``.

    Args:
        registry: Where the champion is.
        texts: The test rows.
        intents: The candidate's intents; the champion's are matched to them by name.
        scratch: A folder to unpack into.
        cases: The regression set, which the champion answers by its own rule.

    Raises:
        StepError: There is a champion but it cannot be used.
    """
    package = registry.champion()
    if package is None:
        return None
    try:
        downloaded = scratch / "champion"
        downloaded.mkdir(parents=True)
        registry.download(package, downloaded)
        folder = model_folder(downloaded, scratch / "champion-model")
        return _answers(package, folder, texts, intents, cases)
    except StepError as error:
        raise StepError(
            f"The champion {package.name} (version {package.version}) cannot be compared with: "
            f"{str(error).rstrip('.')}; restore its model.tar.gz, or reject that version in the "
            "registry so that it is no longer the champion."
        ) from None


def _answers(
    package: ModelPackage,
    folder: Path,
    texts: list[str],
    intents: list[str],
    cases: Sequence[Case],
) -> Champion:
    from steps.contract import read_json
    from steps.evaluate.scoring import Classifier

    classifier = Classifier.load(folder)
    scores = classifier.score_texts(texts)
    labels = {intent: label for label, intent in enumerate(intents)}
    by_name = np.array([labels.get(intent, -2) for intent in classifier.rule.intents])
    training: dict[str, Any] = read_json(folder / "training.json", "The champion's record")
    return Champion(
        package=package,
        predicted=by_name[scores.predicted],
        energy=scores.energy,
        dataset_sha256=str(training.get("dataset_sha256", "unknown")),
        regression=regression.outcomes(cases, classifier),
    )
