"""Reads a request's body, and answers it in a bounded pool of threads within its deadline.

What it leaves out: HTTP. Messages of a nucleus are answered by the same :meth:`Engine.answer`.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from edge.classifier import IntentClassifier, Prediction
from edge.errors import InputError
from edge.service.problems import Problem
from edge.settings import Settings
from edge.telemetry import Telemetry

TOP_K = 3
MOST_CANDIDATES = 1000


@dataclass(frozen=True)
class Request:
    """A body that was found right."""

    texts: list[str]
    top_k: int
    is_batch: bool


class Engine:
    """One classifier, its threads and its queue."""

    def __init__(self, classifier: IntentClassifier, settings: Settings, told: Telemetry) -> None:
        self.classifier = classifier
        self.limits = settings.limits
        self.telemetry = told
        self.waiting = 0  # changed in the event loop only
        self._most = settings.limits.queue + settings.model.threads
        self._pool = ThreadPoolExecutor(settings.model.threads, "predict")
        self._lock = threading.Lock()
        self.utterances = 0

    def read(self, body: bytes) -> Request:
        """Check a body.

        Raises:
            Problem: It is not JSON, or breaks a rule or a limit.
        """
        if len(body) > self.limits.body_bytes:
            raise Problem(413, f"The body has over {self.limits.body_bytes} bytes.", "too_large")
        try:
            value: Any = json.loads(body.decode("utf-8"))
        except UnicodeDecodeError:
            raise _bad("The body is not UTF-8.") from None
        except (ValueError, RecursionError):
            raise _bad("The body is not JSON.") from None
        if not isinstance(value, dict):
            raise _bad("The body must be a JSON object.")
        given = cast("dict[str, Any]", value)
        unknown = sorted(set(given) - {"text", "texts", "top_k"})
        if unknown or ("text" in given) == ("texts" in given):
            raise _bad("The body must have either text or texts, and may have top_k.")
        top_k = given.get("top_k", TOP_K)
        if isinstance(top_k, float) and top_k.is_integer():
            top_k = int(top_k)  # JSON knows one kind of number: 3.0 is 3
        if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= 1000:
            raise _bad(f"top_k must be a whole number from 1 to {MOST_CANDIDATES}.")
        texts: Any = given["texts"] if "texts" in given else [given["text"]]
        if not isinstance(texts, list):
            raise _bad("texts must be a list of text.")
        return Request(self._check(cast("list[Any]", texts)), top_k, "texts" in given)

    def _check(self, texts: list[Any]) -> list[str]:
        if len(texts) > self.limits.batch:
            raise Problem(413, f"texts has over {self.limits.batch} utterances.", "too_large")
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                raise _bad(f"Utterance {position} is not text.")
            if len(text) > self.limits.characters:
                message = f"Utterance {position} has over {self.limits.characters} characters."
                raise Problem(413, message, "too_large")
        return texts

    async def predict(self, body: bytes) -> bytes:
        """The JSON that answers a body, in time or not at all.

        Raises:
            Problem: It is refused, or there is no room or no time for it.
        """
        request = self.read(body)
        if self.waiting >= self._most:
            raise Problem(503, "Too many requests wait: try again later.", "overload")
        deadline = time.monotonic() + self.limits.deadline_seconds
        self.waiting += 1
        future = asyncio.get_running_loop().run_in_executor(
            self._pool, self._run, request, deadline
        )
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.limits.deadline_seconds)
        except TimeoutError:
            raise _late() from None

    def _done(self, future: asyncio.Future[bytes]) -> None:
        self.waiting -= 1
        if not future.cancelled():
            future.exception()  # nobody may have waited for it

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """The same from another thread, which waits: a status and the JSON."""
        try:
            deadline = time.monotonic() + self.limits.deadline_seconds
            return 200, self._pool.submit(self._run, self.read(body), deadline).result()
        except Problem as problem:
            self.telemetry.error(problem.kind)
            return problem.status, problem.body

    def _run(self, request: Request, deadline: float) -> bytes:
        began = time.monotonic()
        if began > deadline:
            raise _late()
        try:
            if request.is_batch:
                answers = self.classifier.predict(request.texts, request.top_k)
            else:
                answers = [self.classifier.predict(request.texts[0], request.top_k)]
        except InputError as error:
            raise _bad(str(error)) from None
        self._count(request.texts, answers, time.monotonic() - began)
        found = [answer.to_json() for answer in answers]
        return json.dumps({"predictions": found} if request.is_batch else found[0]).encode()

    def _count(self, texts: list[str], answers: list[Prediction], seconds: float) -> None:
        with self._lock:
            self.utterances += len(answers)
        for text, answer in zip(texts, answers, strict=True):
            self.telemetry.observe(answer, len(text), seconds)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _bad(detail: str) -> Problem:
    return Problem(400, detail, "bad_request")


def _late() -> Problem:
    return Problem(503, "The request was not answered within its deadline.", "deadline")
