"""Carries out one Processing or Training step: from the cache, or in attempts until one succeeds.

Runs in a thread of its own; what it has to say goes through the callbacks.
"""

from __future__ import annotations

import secrets
import shutil
import string
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

from pipeline.local.cache import Cache, cache_key
from pipeline.local.containers import image_identity
from pipeline.local.cursor import Cursor
from pipeline.local.definition import RetryPolicy, Step
from pipeline.local.describe import JobFacts, describe
from pipeline.local.errors import PipelineError, StorageError
from pipeline.local.expressions import resolve
from pipeline.local.fingerprints import FileHashes, code_identity, named_files
from pipeline.local.jobs import Job, JobError, JobPlace
from pipeline.local.requests import JobRequest, read_request
from pipeline.local.runs import now
from pipeline.local.scope import ExecutionScope
from pipeline.local.storage import disk_errors


@dataclass(frozen=True)
class Outcome:
    """A step that succeeded."""

    properties: Mapping[str, object]
    cached: bool


@dataclass(frozen=True)
class Watcher:
    """What a step tells while it goes on."""

    started: Callable[[int, Path], None]
    """An attempt begins: its number from 1, and its log."""
    line: Callable[[str], None]
    failed: Callable[[JobError, float | None], None]
    """An attempt failed: why, and the seconds until the next, if there is one."""


class StepRunner:
    """Carries out the job steps of one execution."""

    def __init__(
        self, place: JobPlace, cache: Cache, hashes: FileHashes, execution_folder: Path
    ) -> None:
        self._place = place
        self._cache = cache
        self._hashes = hashes
        self._folder = execution_folder

    def run(self, step: Step, scope: ExecutionScope, watcher: Watcher) -> Outcome:
        """Run ``step``.

        Raises:
            PipelineError: It failed for good; JobError if a job did.
            JobStopped: It was stopped.
        """
        key = self._cache_key(step, scope) if step.cached else None
        entry = self._cache.find(key, step.cache_age) if key else None
        if entry:
            return Outcome(entry.properties, cached=True)
        properties, stored = self._attempts(step, scope, watcher)
        if key:
            with suppress(OSError, StorageError):  # it only costs the next run some time
                execution = self._place.surroundings.execution_id
                self._cache.add(key, step.name, execution, properties, stored)
        return Outcome(properties, cached=False)

    def _attempts(
        self, step: Step, scope: ExecutionScope, watcher: Watcher
    ) -> tuple[dict[str, object], tuple[str, ...]]:
        folder = self._folder / "steps" / step.name
        retries = _Retries(step.retries)
        with disk_errors(folder):
            number = _clear_remains(folder)
        while True:
            number += 1
            attempt = folder / f"attempt-{number}"
            with disk_errors(attempt):
                attempt.mkdir(parents=True)
            watcher.started(number, attempt / "log.txt")
            try:
                return self._attempt(step, scope, attempt, watcher)
            except JobError as failure:
                delay = retries.delay_after(failure.exception_type)
                watcher.failed(failure, delay)
                if delay is None:
                    raise
                self._place.stop.asked.wait(delay)
                self._place.pulse()

    def _attempt(
        self, step: Step, scope: ExecutionScope, folder: Path, watcher: Watcher
    ) -> tuple[dict[str, object], tuple[str, ...]]:
        execution = self._place.surroundings.execution_id
        name = f"pipelines-{execution}-{step.name[:24].strip('-')}-{_random_word()}"
        arguments = resolve(step.arguments, scope.for_job(name))
        request = read_request(step.type, Cursor(arguments, step.arguments.path))
        started, clock = now(), time.monotonic()
        document = cast("dict[str, object]", arguments)
        result = Job(self._place, request, name, folder, document, watcher.line).run()
        seconds = round(time.monotonic() - clock)
        facts = JobFacts(name, started, now(), seconds, result.metrics)
        return describe(step.type, document, facts), result.stored

    def _cache_key(self, step: Step, scope: ExecutionScope) -> str | None:
        """The key; None where it cannot be known (the attempt itself will say why)."""
        place = self._place
        try:
            real = read_request(step.type, self._resolved(step, scope))
            timeless = read_request(step.type, self._resolved(step, scope.for_cache_key()))
            inputs = {i.name: place.storage.manifest(i.uri, place.pulse) for i in real.inputs}
        except PipelineError:
            return None
        code = self._code(real)
        if code is None:
            return None
        return cache_key(
            timeless, inputs, code, [place.runtime, place.surroundings.endpoint_url or ""]
        )

    def _resolved(self, step: Step, scope: ExecutionScope) -> Cursor:
        return Cursor(resolve(step.arguments, scope), step.arguments.path)

    def _code(self, request: JobRequest) -> Mapping[str, str] | str | None:
        if self._place.runtime != "process":
            return image_identity(self._place.runtime, request.image)
        source = self._place.surroundings.source
        named = named_files((*request.arguments, *request.hyperparameters.values()), self._hashes)
        if named is None:
            return None
        return {**code_identity(request.entrypoint, source, self._hashes), **named}


class _Retries:
    """Decides after each failure whether, and after how many seconds, to try again."""

    def __init__(self, policies: tuple[RetryPolicy, ...]) -> None:
        self._policies = policies
        self._used = [0] * len(policies)
        self._began = time.monotonic()

    def delay_after(self, exception_type: str | None) -> float | None:
        for index, policy in enumerate(self._policies):
            if exception_type not in policy.exceptions:
                continue
            spent = timedelta(seconds=time.monotonic() - self._began)
            used = self._used[index]
            if policy.max_attempts is not None and used >= policy.max_attempts:
                return None
            if policy.expire_after is not None and spent > policy.expire_after:
                return None
            self._used[index] += 1
            return policy.interval * policy.backoff_rate**used
        return None


def _clear_remains(folder: Path) -> int:
    """Delete what a killed runner left of a step's earlier attempts; how many there were."""
    attempts = list(folder.glob("attempt-*"))
    for attempt in attempts:
        for remains in attempt.iterdir():
            if remains.is_dir() and not remains.is_symlink():
                shutil.rmtree(remains, ignore_errors=True)
            elif remains.name != "log.txt":
                remains.unlink()
    return len(attempts)


def _random_word() -> str:
    letters = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(letters) for _ in range(10))
