"""The step as one function: export, quantise, score, judge, record.

When the compiled model is not like the trained one, the registered package is rejected with the
reason and the function still returns: the pipeline's parity gate closes on ``parity.passed`` and
ends in a Fail step that says why (``docs/decisions/0004-int8.md``). A job that failed here would
hide the figures behind an exit code.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edge.classifier import IntentClassifier, ModelError
from edge.folder import MODEL, RECORD, RULE, TOKENIZER
from steps.archive import model_folder
from steps.compile import latency, parity, regression, selftest
from steps.compile import reference as references
from steps.compile.config import CompileConfig, CompilePaths
from steps.compile.reference import REFERENCE
from steps.compile.selftest import SELFTEST
from steps.contract import StepError, read_json, write_json
from steps.registry import open_registry
from steps.regression.cases import Case, read_prepared
from steps.regression.judging import Rule

RUNTIME = ("numpy", "onnxruntime", "tokenizers")
"""The distributions that the device needs; their versions here are what was tested."""
COMPILED = (MODEL, TOKENIZER, RULE, SELFTEST)
"""What goes to the device."""


def compile_model(paths: CompilePaths, config: CompileConfig) -> dict[str, Any]:
    """Write the *compiled* folder and return what stands in its ``compilation.json``.

    Raises:
        StepError: An input is missing or damaged, the inputs do not belong together, or the
            tools no longer do what this step relies on.
    """
    registration = read_registration(paths.registration)
    reference = parity.read_reference(paths.prepared, paths.evaluation)
    with tempfile.TemporaryDirectory(prefix="slm-compile-") as name:
        scratch = Path(name)
        record = _compile(paths, config, registration, reference, scratch)
        record["files"] = _publish(scratch / "int8", paths.output, COMPILED)
        # apart from the files, which name what the device gets
        record["reference"] = _publish(scratch, paths.output, (REFERENCE,))[REFERENCE]
    write_json(paths.output / RECORD, record)
    if not record["parity"]["passed"]:
        _say(f"rejecting {registration['model_package']}: {record['parity']['message']}")
        open_registry(registration["group"]).reject(
            registration["model_package"], f"Parity gate: {record['parity']['message']}"
        )
    return record


def read_registration(folder: Path) -> dict[str, Any]:
    """What *register* wrote about the model.

    Raises:
        StepError: It is missing, or lacks what compile and package need.
    """
    path = folder / "registration.json"
    registration = read_json(path, "The registration of the model")
    for key, kind in (("model_package", str), ("group", str), ("version", int)):
        if not isinstance(registration, dict) or not isinstance(registration.get(key), kind):
            raise StepError(f"{path} has no {key} as register writes it: register the model again.")
    return registration


def _compile(
    paths: CompilePaths,
    config: CompileConfig,
    registration: dict[str, Any],
    reference: parity.Reference,
    scratch: Path,
) -> dict[str, Any]:
    import transformers

    from steps.compile import early_exit
    from steps.compile.equalize import SAMPLE, equalize
    from steps.compile.export import configuration, export
    from steps.compile.neo import compile_for_neo
    from steps.compile.quantize import quantize
    from steps.intent_model import load, load_tokenizer

    transformers.utils.logging.disable_progress_bar()  # a job's log is not a terminal
    source = model_folder(paths.model, scratch / "model")
    model, rule = load(source)
    tokenizer = load_tokenizer(source)
    if reference.logits.shape != (len(reference.texts), len(rule.intents)):
        raise StepError(
            f"{paths.evaluation} has logits of shape {list(reference.logits.shape)} for "
            f"{len(reference.texts)} test rows and {len(rule.intents)} intents: "
            "it evaluated another model."
        )
    full, small = scratch / "float32", scratch / "int8"
    for folder in (full, small):
        folder.mkdir()
        shutil.copyfile(source / "tokenizer" / "tokenizer.json", folder / TOKENIZER)
        write_json(folder / RULE, rule.to_json())
    started = time.monotonic()
    attention_nodes = export(model, full / MODEL)
    _say(f"exported to ONNX, {attention_nodes} attention blocks fused", started)
    tokenizer.enable_truncation(rule.max_length)
    rows = [tokenizer.encode(text).ids for text in parity.training_texts(paths.prepared, SAMPLE)]
    smooth = scratch / "equalized.onnx"
    _say(f"took the peaks out of {equalize(full / MODEL, smooth, rows)} activations", started)
    whole = scratch / "int8.onnx"
    quantized = quantize(smooth, whole)
    _say(f"quantized {quantized.weights} matrices, {quantized.bytes / 1e6:.1f} MB", started)
    texts = parity.labelled_texts(paths.prepared, early_exit.SAMPLE)
    leaving = early_exit.compile_exit(
        early_exit.Graphs(full / MODEL, whole, small / MODEL),
        [tokenizer.encode(text).ids for text in texts],
        rule.energy_threshold,
        config.max_early_exit_change,
    )
    _say(leaving["note"], started)
    deciding = Rule(rule.intents, rule.temperature, rule.energy_threshold)
    cases = read_prepared(paths.prepared)
    answers = _score(full, small, reference, deciding, config.bounds, cases)
    _say(answers["parity"]["message"], started)
    number = str(registration["version"])
    counted = references.build(IntentClassifier.load(small), reference, number)
    write_json(scratch / REFERENCE, counted)
    _say(f"counted {counted['utterances']:,} test utterances as a device does", started)
    neo = compile_for_neo(model, rule.max_length, _job_name(registration), config.neo, scratch)
    return {
        **answers,
        "attention_nodes": attention_nodes,
        "attention_note": _note(attention_nodes, configuration(model).model_type),
        "bytes": (small / MODEL).stat().st_size,
        "early_exit": leaving,
        "int8": quantized.to_json(),
        "model_version": number,
        "neo": neo,
        "versions": {name: version(name) for name in RUNTIME},
    }


def _score(
    full: Path,
    small: Path,
    reference: parity.Reference,
    rule: Rule,
    bounds: parity.Bounds,
    cases: list[Case],
) -> dict[str, Any]:
    """Parity with and without the help of VNNI, the regression set, latency of the two compiled
    folders, and the device's self-test, which goes beside the model."""
    threshold = rule.energy_threshold
    try:
        compiled = IntentClassifier.load(small)
        precise = IntentClassifier.load(small, precise=True)
        uncompressed = IntentClassifier.load(full)
    except ModelError as error:
        raise StepError(f"The compiled model cannot be loaded: {error}") from None
    found = parity.score(compiled, reference)
    exact = parity.score(precise, reference)
    questions = selftest.build(compiled, found, reference, threshold)
    write_json(small / SELFTEST, questions)
    return {
        "parity": parity.judge(parity.figures(found, reference, threshold), bounds),
        # the session's precision option: what x86 without VNNI computes when it must not saturate
        "parity_without_vnni": parity.figures(exact, reference, threshold),
        "regression": regression.compare(cases, uncompressed, compiled, rule),
        "latency": latency.measure({"int8": compiled, "float32": uncompressed}, reference.texts),
    }


def _note(attention_nodes: int, architecture: str) -> str:
    if attention_nodes:
        return "every attention block is one fused node"
    return (
        f"onnxruntime has no fusion for {architecture} that this step relies "
        "on: the graph is quantised as it was exported"
    )


def _publish(source: Path, target: Path, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Copy the finished files ``names`` to ``target``; returns their hashes and sizes."""
    files: dict[str, dict[str, Any]] = {}
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        partial = target / f".{name}.partial"
        shutil.copyfile(source / name, partial)
        with partial.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[name] = {"sha256": digest, "bytes": partial.stat().st_size}
        partial.replace(target / name)
    return files


def _job_name(registration: dict[str, Any]) -> str:
    """A compilation job's name: at most 63 letters, digits and single hyphens, new each time."""
    group = re.sub(r"[^A-Za-z0-9]+", "-", registration["group"]).strip("-")[:36]
    return f"{group}-{registration['version']}-{int(time.time())}"


def _say(what: str, since: float | None = None) -> None:
    taken = "" if since is None else f" ({time.monotonic() - since:.1f} s)"
    print(f"compile: {what}{taken}", flush=True)
