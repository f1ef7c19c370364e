"""Which execution somebody means: by ARN, also of the drift check, or by id."""

from __future__ import annotations

import pytest

from pipeline.cloud.deployed import execution_arn
from pipeline.cloud.session import Account, CloudError
from pipeline.settings import Settings

DEV = Settings.load("dev")
ACCOUNT = Account(DEV, "http://127.0.0.1:9")  # nothing is asked of it


@pytest.mark.parametrize("pipeline", [DEV.pipeline_arn, DEV.drift_pipeline_arn])
def test_an_arn_is_of_either_pipeline_of_the_environment(pipeline):
    arn = f"{pipeline}/execution/abcdefghijkl"
    assert execution_arn(ACCOUNT, arn) == arn


@pytest.mark.parametrize(
    "pipeline", [f"{DEV.pipeline_arn}-other", Settings.load("prod").pipeline_arn]
)
def test_an_arn_of_another_pipeline_is_refused_in_one_sentence(pipeline):
    with pytest.raises(CloudError, match=r"is not an execution of .* with --env") as refused:
        execution_arn(ACCOUNT, f"{pipeline}/execution/abcdefghijkl")
    assert "\n" not in str(refused.value)


def test_an_id_is_of_the_main_pipeline():
    arn = f"{DEV.pipeline_arn}/execution/abcdefghijkl"
    assert execution_arn(ACCOUNT, "abcdefghijkl") == arn
