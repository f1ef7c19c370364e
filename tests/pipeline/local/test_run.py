"""Whole executions with Processing, Condition and Fail steps in a folder store."""

from __future__ import annotations

import json

import pytest

from pipeline.local import (
    ExecutionEnded,
    ExecutionStarted,
    StepFailed,
    StepLog,
    StepSkipped,
    StepSucceeded,
    runs,
)
from tests.pipeline.local.workshop import (
    Workshop,
    compare,
    condition,
    definition,
    fail,
    get,
    join,
    json_get,
    output_of,
    parameter,
    processing,
    training,
)

COUNT = """
words = [p.read_text() for p in sorted((inp / "raw").iterdir())]
print("counted", len(words))
(out / "counted" / "count.json").write_text(json.dumps(
    {"gate": {"passed": int(len(words) > 1), "message": f"{len(words)} rows"}, "args": sys.argv[1:]}
))
"""
SHOUT = """
count = json.loads((inp / "counted" / "count.json").read_text())
(out / "loud" / "loud.txt").write_text(count["gate"]["message"].upper())
"""


def gated(**parameters: object):
    return definition(
        processing(
            "Count",
            inputs={"raw": get("Parameters.InputData")},
            outputs=["counted"],
            arguments=["--limit", join(get("Parameters.Limit"), on="")],
            PropertyFiles=[
                {"PropertyFileName": "gate", "OutputName": "counted", "FilePath": "count.json"}
            ],
        ),
        condition(
            "Check",
            [compare("Equals", json_get("Count", "gate", "gate.passed"), 1)],
            [processing("Shout", inputs={"counted": output_of("Count", "counted")},
                        outputs=["loud"])],
            [fail("Closed", join("Too few:", json_get("Count", "gate", "gate.message"), on=" "))],
        ),
        parameters=[
            parameter("InputData", default="s3://data-bucket/raw"),
            parameter("Limit", "Float", 0.5),
        ],
    )  # fmt: skip


def test_an_open_gate_leads_to_the_steps_behind_it(workshop: Workshop) -> None:
    workshop.job("count", COUNT)
    workshop.job("shout", SHOUT)
    workshop.put("s3://data-bucket/raw", {"a.txt": "one", "b.txt": "two"})

    execution = workshop.run(gated(), parameters={"Limit": "0.25"})

    assert execution.status == "Succeeded", execution.failure_reason
    assert workshop.statuses(execution) == {
        "Count": "Succeeded",
        "Check": "Succeeded",
        "Shout": "Succeeded",
        "Closed": "Skipped",
    }
    loud = f"s3://work-bucket/runs/{execution.id}/Shout/loud/loud.txt"
    assert workshop.read(loud) == "2 ROWS"
    counted = f"s3://work-bucket/runs/{execution.id}/Count/counted/count.json"
    assert json.loads(workshop.read(counted))["args"] == ["--limit", "0.25"]
    assert execution.steps["Check"].outputs == {"Outcome": "True"}
    assert runs.load(workshop.home, execution.id) == execution
    assert runs.list_executions(workshop.home) == [execution]


def test_a_closed_gate_ends_the_execution_with_the_resolved_message(workshop: Workshop) -> None:
    workshop.job("count", COUNT)
    workshop.put("s3://data-bucket/raw", {"a.txt": "one"})

    execution = workshop.run(gated())

    assert execution.status == "Failed"
    assert execution.failure_reason == "Step Closed: Too few: 1 rows"
    assert workshop.statuses(execution)["Shout"] == "Skipped"
    assert execution.steps["Closed"].status == "Failed"


def test_every_kind_of_condition_and_reference_works_in_a_definition(workshop: Workshop) -> None:
    workshop.job("count", COUNT)
    workshop.put("s3://data-bucket/raw", {"a.txt": "one"})
    document = gated()
    no = compare("Equals", get("Parameters.Limit"), 9)
    document["Steps"][1]["Arguments"]["Conditions"] = [
        {"Type": "Not", "Condition": no},
        {"Type": "Or", "Conditions": [no, {"Type": "In", "QueryValue": "a", "Values": ["a"]}]},
        compare("LessThan", "2020", get("Execution.CurrentDateTime")),
        compare("Equals", get("Execution.PipelineName"), "nightly"),
    ]
    uri = join(output_of("Count", "counted"), "count.json")
    read = {"Std:JsonGet": {"S3Uri": uri, "Path": "args[0]"}}
    job = get("Steps.Count.ProcessingJobName")
    document["Steps"][1]["Arguments"]["IfSteps"] = [fail("End", join(read, job, on=" "))]

    execution = workshop.run(document, pipeline="nightly")

    name = execution.steps["Count"].outputs["ProcessingJobName"]
    assert execution.failure_reason == f"Step End: --limit {name}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Path": "gate.lost"}, "gate.lost is not in s3://work-bucket/runs/{id}/Count/counted/"
         "count.json: 'lost' is missing."),
        ({"FilePath": "lost.json"}, "Nothing is stored at s3://work-bucket/runs/{id}/Count/counted/"
         "lost.json: "),
        ({"FilePath": "text"}, "s3://work-bucket/runs/{id}/Count/counted/text is not JSON: "),
    ],
)  # fmt: skip
def test_a_gate_that_cannot_read_its_figure_fails_in_one_sentence(
    change: dict[str, str], reason: str, workshop: Workshop
) -> None:
    workshop.job("count", COUNT + '(out / "counted" / "text").write_text("text")')
    workshop.put("s3://data-bucket/raw", {"a.txt": "one"})
    document = gated()
    document["Steps"][0]["PropertyFiles"][0] |= {
        key: value for key, value in change.items() if key == "FilePath"
    }
    json_path = {key: value for key, value in change.items() if key == "Path"}
    left = document["Steps"][1]["Arguments"]["Conditions"][0]["LeftValue"]
    left["Std:JsonGet"] |= json_path

    execution = workshop.run(document)

    said = execution.steps["Check"].failure_reason or ""
    assert said.startswith(reason.format(id=execution.id))
    assert workshop.statuses(execution)["Closed"] == "NotStarted"


def test_a_metric_that_was_never_logged_is_named(workshop: Workshop) -> None:
    workshop.job("train", "")
    metric = get("Steps.Train.FinalMetricDataList['loss'].Value")
    execution = workshop.run(
        definition(
            training("Train", metrics={"loss": "loss=(.*)"}),
            fail("End", join("loss was", metric, on=" ")),
        )
    )
    reason = execution.steps["End"].failure_reason
    assert reason == "Step Train has no FinalMetricDataList['loss'].Value: 'loss' is missing."


def test_the_listener_hears_everything_in_order(workshop: Workshop) -> None:
    workshop.job("count", COUNT)
    workshop.put("s3://data-bucket/raw", {"a.txt": "one"})

    execution = workshop.run(gated())

    first, *_, last = workshop.seen
    assert isinstance(first, ExecutionStarted)
    assert list(first.execution.steps) == ["Count", "Check", "Shout", "Closed"]
    assert not first.resumed
    assert last == ExecutionEnded(execution)
    assert [event.line for event in workshop.of_kind(StepLog)] == ["counted 1"]
    assert [event.step for event in workshop.of_kind(StepSucceeded)] == ["Count", "Check"]
    assert [event.step for event in workshop.of_kind(StepSkipped)] == ["Shout"]
    assert [event.reason for event in workshop.of_kind(StepFailed)] == ["Too few: 1 rows"]


def test_no_job_folder_is_left_but_every_log_is(workshop: Workshop) -> None:
    workshop.job("count", COUNT)
    workshop.put("s3://data-bucket/raw", {"a.txt": "one"})

    execution = workshop.run(gated())

    attempt = workshop.home / "executions" / execution.id / "steps" / "Count" / "attempt-1"
    assert [path.name for path in attempt.iterdir()] == ["log.txt"]
    assert execution.steps["Count"].log == str(attempt / "log.txt")
    assert (attempt / "log.txt").read_text() == "counted 1\n"
