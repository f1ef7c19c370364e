"""Fails where the behaviour says so."""

from __future__ import annotations

import os
import time
from pathlib import Path

from edge.classifier import IntentClassifier
from edge.errors import EdgeError


def check(classifier: IntentClassifier, folder: Path | str) -> None:
    time.sleep(classifier.behaviour.get("selftest_seconds", 0))
    if classifier.behaviour.get("selftest") == "fails":
        raise EdgeError("The model answers 'weather' where it answered 'play_music'.")
    if classifier.behaviour.get("selftest") == "dies":
        os.abort()
