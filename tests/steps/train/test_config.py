"""Hyperparameters: what SageMaker's strings become, and what is refused."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import typing

import pytest

from steps.contract import StepError
from steps.train import config as module
from steps.train.config import TrainingConfig, decode, read_config


def test_strings_become_the_types_of_their_fields():
    config = decode(
        {
            "fine_tuning": "full",
            "epochs": "7",
            "learning_rate": "2e-4",
            "use_rslora": "True",
            "base_model": "prajjwal1/bert-tiny",
        }
    )
    assert config.fine_tuning == "full"
    assert config.epochs == 7
    assert config.learning_rate == 2e-4
    assert config.use_rslora is True
    assert config.base_model == "prajjwal1/bert-tiny"


def test_values_that_an_sdk_encoded_as_json_are_understood():
    config = decode({"base_model": '"all-MiniLM-L6-v2"', "epochs": 2, "use_dora": True})
    assert (config.base_model, config.epochs, config.use_dora) == ("all-MiniLM-L6-v2", 2, True)


def test_keys_of_sagemakers_own_tools_are_passed_over():
    values = {"sagemaker_region": "eu-west-1", "_tuning_objective_metric": "validation:loss"}
    assert decode(values) == TrainingConfig()


def test_a_missing_file_means_all_defaults(tmp_path):
    assert read_config(tmp_path / "hyperparameters.json") == TrainingConfig()


def test_a_file_is_read(tmp_path):
    path = tmp_path / "hyperparameters.json"
    path.write_text(json.dumps({"seed": "5"}))
    assert read_config(path).seed == 5


@pytest.mark.parametrize(("text", "says"), [("[]", "JSON object"), ("{", "not valid JSON")])
def test_a_file_that_holds_no_object_is_refused(tmp_path, text, says):
    path = tmp_path / "hyperparameters.json"
    path.write_text(text)
    with pytest.raises(StepError, match=says):
        read_config(path)


def test_an_unknown_key_is_refused_with_the_keys_that_exist():
    with pytest.raises(StepError, match=r"no hyperparameter 'epoch'.*batch_size.*epochs"):
        decode({"epoch": "3"})


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("epochs", "0", "at least 1"),
        ("epochs", "three", "whole number"),
        ("epochs", "2.5", "whole number"),
        ("learning_rate", "-1", "between 0 and 1"),
        ("learning_rate", "nan", "must be a number"),
        ("learning_rate", "inf", "must be a number"),
        ("head_learning_rate", "0", "above 0"),
        ("fine_tuning", "adapter", "one of lora, qlora, full"),
        ("use_dora", "yes", "true or false"),
        ("lora_dropout", "1", "below 1"),
        ("label_smoothing", "-0.1", "at least 0"),
        ("weight_decay", "-1", "not be negative"),
        ("distillation", "1.5", "between 0 and 1"),
        ("distillation_temperature", "0", "above 0"),
        ("lora_alpha", "0", "above 0"),
        ("seed", "-1", "between 0"),
        ("base_model", " ", "not be empty"),
        ("max_length", "2", "at least 4"),
    ],
)
def test_a_wrong_value_is_refused_with_key_value_and_rule(key, value, rule):
    with pytest.raises(StepError) as refused:
        decode({key: value})
    assert f"hyperparameter {key} is" in str(refused.value)
    assert value in str(refused.value)
    assert rule in str(refused.value)


def test_more_accumulated_parts_than_utterances_are_refused():
    with pytest.raises(StepError, match="gradient_accumulation is 8, more than the 4"):
        TrainingConfig(batch_size=4, gradient_accumulation=8)


def test_dora_without_an_adapter_is_refused():
    with pytest.raises(StepError, match="use_dora is true, but fine_tuning is 'full'"):
        TrainingConfig(use_dora=True, fine_tuning="full")


def test_a_learning_rate_of_zero_takes_the_methods_own():
    assert TrainingConfig().encoder_learning_rate > 5e-4
    assert TrainingConfig(fine_tuning="full").encoder_learning_rate < 5e-4
    assert TrainingConfig(learning_rate=0.5).encoder_learning_rate == 0.5


def test_what_does_not_change_the_result_is_no_mark_of_a_job():
    assert (
        TrainingConfig(checkpoint_steps=3, gradient_accumulation=2).decides_result()
        == TrainingConfig().decides_result()
    )
    assert TrainingConfig(seed=1).decides_result() != TrainingConfig().decides_result()


def test_every_field_says_what_it_is_and_every_number_has_a_rule():
    body = ast.parse(inspect.getsource(TrainingConfig)).body[0]
    assert isinstance(body, ast.ClassDef)
    documented = {
        first.target.id
        for first, second in zip(body.body, body.body[1:], strict=False)
        if isinstance(first, ast.AnnAssign)
        and isinstance(first.target, ast.Name)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
    }
    kinds = typing.get_type_hints(TrainingConfig)
    assert documented == {field.name for field in dataclasses.fields(TrainingConfig)}
    numbers = {name for name, kind in kinds.items() if kind in (int, float)}
    assert numbers <= set(module._RULES)
