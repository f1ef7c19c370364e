from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from edge.greengrass import ipc
from edge.greengrass.ipc import LARGEST_RESPONSE, Requests, serve
from edge.settings import Settings
from tests.edge.greengrass.nucleus_ipc import NucleusIpc

REQUESTS, RESPONSES = "slm/kitchen-1/requests", "slm/kitchen-1/responses"
SETTINGS = Settings.parse({"thing": "kitchen-1"})


@pytest.fixture
def nucleus(monkeypatch: pytest.MonkeyPatch) -> Iterator[NucleusIpc]:
    monkeypatch.setattr(ipc, "FIRST_WAIT", 0.05)
    with NucleusIpc() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


class Answers:
    """Stands where the service's answer stands: echoes how long the text is."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, body: bytes) -> tuple[int, bytes]:
        self.seen.append(body)
        assert self.go_on.wait(20)
        request = json.loads(body)
        if "text" not in request:
            return 422, b'{"title":"Unprocessable Content","status":422}'
        if request["text"] == "fail":
            raise RuntimeError("bug")
        return 200, json.dumps({"characters": len(request["text"])}).encode()


def started(
    nucleus: NucleusIpc, answer: Any, settings: Settings = SETTINGS, **more: Any
) -> Requests:
    served = serve(answer, settings, **more)
    assert served is not None
    nucleus.wait_for_subscriber(REQUESTS)
    return served


def responses(nucleus: NucleusIpc, count: int) -> list[dict[str, Any]]:
    nucleus.wait_for(nucleus.local, count)
    assert {topic for topic, _ in nucleus.local} == {RESPONSES}
    return [json.loads(payload) for _, payload in nucleus.local]


def test_a_request_on_the_topic_is_answered_with_its_id(nucleus: NucleusIpc) -> None:
    served = started(nucleus, Answers())
    nucleus.publish(REQUESTS, {"id": "a", "text": "lamp off"})
    nucleus.publish(REQUESTS, b'{"id": "b", "text": "\xc3\xa4"}')
    nucleus.publish(REQUESTS, {"text": "nobody's"})
    assert responses(nucleus, 3) == [
        {"id": "a", "status": 200, "body": {"characters": 8}},
        {"id": "b", "status": 200, "body": {"characters": 1}},
        {"id": None, "status": 200, "body": {"characters": 8}},
    ]
    served.close()


def test_the_id_is_not_part_of_what_the_service_is_asked(nucleus: NucleusIpc) -> None:
    answer = Answers()
    served = started(nucleus, answer)
    nucleus.publish(REQUESTS, {"id": "a", "text": "lamp off", "top_k": 1})
    responses(nucleus, 1)
    assert json.loads(answer.seen[0]) == {"text": "lamp off", "top_k": 1}
    served.close()


def test_what_is_no_request_is_answered_with_a_problem_and_the_next_one_is_served(
    nucleus: NucleusIpc,
) -> None:
    errors: list[str] = []
    served = started(nucleus, Answers(), error=errors.append)
    deep = b'{"id": "x", "text": ' + b"[" * 3000 + b"]" * 3000 + b"}"
    bad = [b"", b"\xff\xfe", b"no json", b"[1]", b'{"id": 7, "text": "a"}', deep]
    for message in bad:
        nucleus.publish(REQUESTS, message)
    nucleus.publish(REQUESTS, {"id": "x" * 129, "text": "a"})
    nucleus.publish(REQUESTS, {"id": "wrong", "txt": "a"})
    nucleus.publish(REQUESTS, {"id": "bug", "text": "fail"})
    nucleus.publish(REQUESTS, {"id": "good", "text": "lamp off"})
    answers = responses(nucleus, 10)
    assert [a["status"] for a in answers[:5]] == [400] * 5
    # how deep JSON may be depends on the version of Python; the service has a rule of its own
    assert answers[5]["status"] in (200, 400, 422, 500)
    assert [(a["id"], a["status"]) for a in answers[6:]] == [
        (None, 400),
        ("wrong", 422),
        ("bug", 500),
        ("good", 200),
    ]
    for answer in answers[:5]:
        assert answer["body"]["type"] == "about:blank"
        assert answer["body"]["detail"].endswith(".")
    assert errors.count("bad_request") >= 6
    assert errors.count("internal") >= 1
    served.close()


def test_a_request_or_an_answer_that_is_too_large_for_a_message_is_refused(
    nucleus: NucleusIpc,
) -> None:
    settings = Settings.parse({"thing": "kitchen-1", "limits": {"body_bytes": 1024}})
    sizes = {"large": LARGEST_RESPONSE + 1, "fits": LARGEST_RESPONSE}

    def answer(body: bytes) -> tuple[int, bytes]:
        return 200, json.dumps("x" * (sizes[json.loads(body)["text"]] - 2)).encode()

    served = started(nucleus, answer, settings)
    nucleus.publish(REQUESTS, {"id": "1", "text": "x" * 3000})
    nucleus.publish(REQUESTS, {"id": "2", "text": "large"})
    nucleus.publish(REQUESTS, {"id": "3", "text": "fits"})
    found = responses(nucleus, 3)
    assert [(r["id"], r["status"]) for r in found] == [(None, 413), ("2", 413), ("3", 200)]
    assert "1024" in found[0]["body"]["detail"]
    assert "fewer utterances" in found[1]["body"]["detail"]
    served.close()


def test_more_requests_than_the_queue_holds_are_turned_away_at_once(nucleus: NucleusIpc) -> None:
    settings = Settings.parse(
        {"thing": "kitchen-1", "limits": {"queue": 2, "deadline_seconds": 60}}
    )
    answer, errors = Answers(), list[str]()
    answer.go_on.clear()
    served = started(nucleus, answer, settings, error=errors.append)
    for number in range(5):
        nucleus.publish(REQUESTS, {"id": str(number), "text": "lamp off"})
        if number == 0:  # one is being answered, two wait
            while not answer.seen:
                threading.Event().wait(0.01)
    turned_away = responses(nucleus, 2)
    assert [(r["id"], r["status"]) for r in turned_away] == [("3", 503), ("4", 503)]
    answer.go_on.set()
    assert [r["status"] for r in responses(nucleus, 5)[2:]] == [200, 200, 200]
    assert errors == ["overload", "overload"]
    served.close()


def test_a_request_that_waited_too_long_is_not_answered_late(nucleus: NucleusIpc) -> None:
    settings = Settings.parse({"thing": "kitchen-1", "limits": {"deadline_seconds": 0.05}})
    answer, errors = Answers(), list[str]()
    answer.go_on.clear()
    served = started(nucleus, answer, settings, error=errors.append)
    nucleus.publish(REQUESTS, {"id": "first", "text": "lamp off"})
    nucleus.publish(REQUESTS, {"id": "second", "text": "lamp off"})
    threading.Event().wait(0.2)
    answer.go_on.set()
    found = {r["id"]: r["status"] for r in responses(nucleus, 2)}
    assert found == {"first": 200, "second": 503}
    assert errors == ["deadline"]
    served.close()


def test_after_the_nucleus_restarts_requests_are_answered_again(nucleus: NucleusIpc) -> None:
    served = started(nucleus, Answers())
    nucleus.stop()
    nucleus.start()
    nucleus.wait_for_subscriber(REQUESTS)
    nucleus.publish(REQUESTS, {"id": "again", "text": "lamp off"})
    assert responses(nucleus, 1)[0]["id"] == "again"
    served.close()


def test_after_its_stream_was_closed_it_subscribes_again(nucleus: NucleusIpc) -> None:
    served = started(nucleus, Answers())
    nucleus.end_subscriptions()
    nucleus.wait_for_subscriber(REQUESTS)
    nucleus.publish(REQUESTS, {"id": "again", "text": "lamp off"})
    assert responses(nucleus, 1)[0]["id"] == "again"
    served.close()


def test_a_nucleus_that_forbids_the_topic_is_asked_again_until_it_allows_it(
    nucleus: NucleusIpc, caplog: pytest.LogCaptureFixture
) -> None:
    nucleus.refuse["SubscribeToTopic"] = "UnauthorizedError"
    served = serve(Answers(), SETTINGS)
    assert served is not None
    while "UnauthorizedError" not in caplog.text:
        threading.Event().wait(0.01)
    del nucleus.refuse["SubscribeToTopic"]
    nucleus.wait_for_subscriber(REQUESTS)
    served.close()


def test_closing_answers_what_was_accepted(nucleus: NucleusIpc) -> None:
    answer = Answers()
    answer.go_on.clear()
    served = started(nucleus, answer)
    for number in range(3):
        nucleus.publish(REQUESTS, {"id": str(number), "text": "lamp off"})
    while not answer.seen:
        threading.Event().wait(0.01)
    threading.Timer(0.1, answer.go_on.set).start()
    served.close()
    assert [r["status"] for r in responses(nucleus, 3)] == [200, 200, 200]


def test_without_a_nucleus_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NucleusIpc().environment:
        monkeypatch.delenv(name, raising=False)
    assert serve(Answers(), SETTINGS) is None
    forced = Settings.parse({"thing": "kitchen-1", "greengrass": {"enabled": True}})
    assert serve(Answers(), forced) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"thing": "kitchen-1", "greengrass": {"enabled": False}},
        {"thing": "kitchen-1", "greengrass": {"requests": "a", "responses": "a"}},
        {},
    ],
    ids=["switched off", "one topic for both", "no name for the topic"],
)
def test_settings_that_cannot_work_serve_nothing(
    nucleus: NucleusIpc, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_IOT_THING_NAME", raising=False)
    assert serve(Answers(), Settings.parse(settings)) is None
