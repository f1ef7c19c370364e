"""The row that stands beside the model in every report: TF-IDF and a linear SVM.

Trained here, in seconds, on the same train rows. If a fine-tuned encoder is not clearly better
than this, it is not worth its size.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from steps.contract import StepError
from steps.evaluate.metrics import Array

TIMED = 100
"""Utterances that are timed one by one."""


class Baseline:
    """TF-IDF of words and pairs of words, and one linear SVM an intent (scikit-learn)."""

    def __init__(self, texts: Sequence[str], labels: Array, seed: int) -> None:
        """Fits on the in-scope rows of ``texts``.

        Raises:
            StepError: Fewer than two intents have rows.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC

        rows = np.flatnonzero(labels >= 0).tolist()
        if len(np.unique(labels[rows])) < 2:
            raise StepError(
                "train.parquet has rows of fewer than two intents, so there is nothing to tell "
                "apart: prepare data with at least two intents."
            )
        started = time.perf_counter()
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        self._pipeline = make_pipeline(words, LinearSVC(random_state=seed))
        self._pipeline.fit([texts[row] for row in rows], labels[rows])
        self.fit_seconds = time.perf_counter() - started
        self._labels: Array = self._pipeline.classes_

    def margins(self, texts: Sequence[str]) -> Array:
        """Distance from each intent's plane, [rows, intents that train has]."""
        margins = self._pipeline.decision_function(list(texts))
        # for two intents scikit-learn keeps the second's alone
        return np.stack([-margins, margins], axis=1) if margins.ndim == 1 else margins

    def predict(self, texts: Sequence[str]) -> Array:
        """Labels, [rows]."""
        return self._labels[self.margins(texts).argmax(axis=1)]

    def labels_and_scores(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Labels and the largest margin, which is what tells out of scope, [rows] each."""
        margins = self.margins(texts)
        return self._labels[margins.argmax(axis=1)], margins.max(axis=1)

    def latency(self, texts: Sequence[str]) -> dict[str, Any]:
        """Milliseconds for one utterance, over the first :data:`TIMED` of ``texts``."""
        taken: list[float] = []
        for text in texts[:TIMED]:
            started = time.perf_counter()
            self.predict([text])
            taken.append((time.perf_counter() - started) * 1000)
        return {"median_ms": float(np.median(taken)), "p95_ms": float(np.percentile(taken, 95))}
