"""The ``evaluate.Metric`` classes: no hub, and the numbers of the step."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest


def test_they_compute_what_the_step_computes_without_a_hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from steps.evaluate import hugging_face as local
    from steps.evaluate import metrics

    f1 = local.MacroF1(keep_in_memory=True)
    found = f1.compute(predictions=[0, 1, 1], references=[0, 1, 0])
    assert found == {"macro_f1": pytest.approx(2 / 3)}

    auroc = local.OutOfScopeAuroc(keep_in_memory=True)
    found = auroc.compute(predictions=[3.0, 2.0, 1.0], references=[1, 0, 1])
    assert found == {"out_of_scope_auroc": 0.5}

    error = local.CalibrationError(keep_in_memory=True)
    found = error.compute(predictions=[0.9, 0.8], references=[1, 0])
    expected = metrics.expected_calibration_error(np.array([0.9, 0.8]), np.array([1, 0]))
    assert found == {"expected_calibration_error": pytest.approx(expected)}


def test_the_step_itself_does_not_import_the_library():
    modules = "steps.evaluate.evaluate, steps.evaluate.__main__"
    loaded = "{'evaluate', 'torch', 'transformers', 'mlflow', 'sklearn', 'jinja2'}"
    program = f"import sys, {modules}; print(sorted({loaded} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
