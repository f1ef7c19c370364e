"""What is done in each state of a promotion: one look or one act, that may be done again.

Each function gets the record and returns the next one, or the same and how long to wait. It can be
cut off anywhere and called again: what exists is found and not made twice. A deployment that
somebody else made to the group meanwhile ends the promotion, so that ``slm fleet rollback`` has
the last word.

Leaves out: who calls, and in which order (promoting.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pipeline.cloud.fleet import deployments, following, releasing
from pipeline.cloud.fleet.deployments import Deployment, Rollout
from pipeline.cloud.fleet.following import Progress
from pipeline.cloud.promotion import artifacts, copying, versions, windows
from pipeline.cloud.promotion.artifacts import Found, RefusedError
from pipeline.cloud.promotion.record import Record, State
from pipeline.cloud.promotion.verdict import Limits, judge
from pipeline.cloud.promotion.versions import Version
from pipeline.cloud.promotion.windows import Counts
from pipeline.cloud.session import Account, MissingError

SOON, LATER = 30.0, 300.0  # seconds between two looks at a few devices; at telemetry or a fleet
LOOKS = 300
"""At most in one state: a state machine's history holds 25,000 events, some ten a look."""
BACK = Rollout(per_minute=1000, abort_percent=100.0)
"""What is rolled back hurts now."""


@dataclass(frozen=True)
class Place:
    """Where a promotion goes from and to."""

    source: Account
    target: Account
    now: Callable[[], datetime]


@dataclass(frozen=True)
class Step:
    """What came of a step.

    Attributes:
        wait: Seconds until the next one; 0 when the state has changed.
    """

    record: Record
    words: str
    wait: float = 0.0


def verify(place: Place, record: Record) -> Step:
    """Approved, whole, signed, newer than what the fleet has, and a canary to try it on.

    Raises:
        RefusedError: It is not.
    """
    version = _approved(place, record)
    found = artifacts.locate(version)
    if found is None:
        return _wait_for_package(place, record, version)
    with tempfile.TemporaryDirectory(prefix="slm-promotion-") as scratch:
        package = artifacts.fetch(place.source, found, Path(scratch))
        artifacts.check_signature(place.source, package, found.url)
        if problem := copying.conflict(place.target, package):
            raise RefusedError(problem)
        expected = artifacts.out_of_scope_rate(package)
    before = _groups(place.target, package.version)
    words = f"package, signature and model of {package.version} are as recorded"
    verified = record.to(
        "copy",
        words,
        place.now(),
        component=package.version,
        package_url=found.url,
        package_sha256=found.sha256,
        model_sha256=artifacts.check_model(place.source, version),
        expected_out_of_scope=expected,
        before=before,
    )
    return Step(verified, words)


def copy(place: Place, record: Record) -> Step:
    """The same bytes in the target.

    Raises:
        RefusedError: They are no longer what was verified, or the version is no longer approved.
    """
    version = _approved(place, record)
    before = _groups(place.target, record.component)  # another version may have come first
    registered, words = "", f"component {record.component} in {place.target.settings.name}"
    with tempfile.TemporaryDirectory(prefix="slm-promotion-") as scratch:
        found = Found(record.package_url, record.package_sha256)
        package = artifacts.fetch(place.source, found, Path(scratch))
        artifacts.check_signature(place.source, package, found.url)
        copying.publish(place.source, place.target, package)
        if copying.elsewhere(place.source, place.target):
            registered = copying.register(
                place.source, place.target, version, package, Path(scratch)
            )
            words = f"{words} as {registered}"
    fleet = deployments.latest(place.target, place.target.settings.thing_group)
    has_it = fleet is not None and fleet.version == record.component and fleet.reached_devices
    following_state: State = "fleet" if has_it else "canary"
    copied = record.to(following_state, words, place.now(), registered=registered, before=before)
    return Step(copied, words)


def canary(place: Place, record: Record) -> Step:
    """Deploy to the canary group, and follow its devices."""
    settings = place.target.settings
    group = settings.canary_group
    record, latest = _deployed(place, record, "canary", group)
    if meanwhile := _overtaken(record, "canary", latest, group):
        return Step(record.to("rolled-back", meanwhile, place.now()), meanwhile)
    progress = _progress(place.target, group, latest.id)
    over = _over(place, record, settings.promotion.canary_minutes)
    if progress.failed or progress.stopped or (progress.waiting and over):
        words = releasing.unfinished(record.component, progress)
        return Step(record.to("roll-back", words, place.now()), words)
    if progress.waiting:
        return Step(record, str(progress), _pace(SOON, settings.promotion.canary_minutes))
    words = f"all {len(progress.done)} devices of {group} took it"
    return Step(record.to("watch", words, place.now()), words)


def watch(place: Place, record: Record) -> Step:
    """What the canary's devices counted with it, against the version before."""
    settings, at = place.target.settings, place.now()
    group = settings.canary_group
    latest = deployments.latest(place.target, group)
    if meanwhile := _overtaken(record, "canary", latest, group):
        return Step(record.to("rolled-back", meanwhile, at), meanwhile)
    began = _began(record, "canary")
    things = following.things(place.target, group)
    before = record.before.get("canary", "")
    if before and "before" not in record.watched:
        counts = windows.read_before(place.target, things, before, began)
        record = replace(record, watched={"before": counts.to_json()})
    new = windows.read(place.target, things, record.component, began, at)
    record = replace(record, watched={**record.watched, "now": new.to_json()})
    over = _over(place, record, settings.promotion.watch_minutes)
    verdict = judge(
        new,
        _counts(record.watched, "before"),
        _limits(place.target),
        over=over,
        expected=record.expected_out_of_scope,
    )
    if verdict.kind == "wait":
        pace = _pace(LATER, settings.promotion.watch_minutes)
        return Step(record, verdict.words, pace)
    state: State = "fleet" if verdict.kind == "good" else "roll-back"
    return Step(record.to(state, verdict.words, at), verdict.words)


def fleet(place: Place, record: Record) -> Step:
    """Deploy to all devices, and follow them for a while."""
    settings = place.target.settings
    group = settings.thing_group
    record, latest = _deployed(place, record, "fleet", group)
    if meanwhile := _overtaken(record, "fleet", latest, group):
        return Step(record.to("rolled-back", meanwhile, place.now()), meanwhile)
    progress = _progress(place.target, group, latest.id)
    over = _over(place, record, settings.promotion.fleet_minutes)
    if progress.waiting and not over and not progress.stopped:
        return Step(record, str(progress), _pace(LATER, settings.promotion.fleet_minutes))
    ended = len(progress.done) + len(progress.failed)
    if progress.stopped or 100 * len(progress.failed) >= Rollout().abort_percent * max(ended, 1):
        words = releasing.unfinished(record.component, progress)
        return Step(record.to("roll-back", words, place.now()), words)
    words = _reached(progress)
    return Step(record.to("done", words, place.now()), words)


def roll_back(place: Place, record: Record) -> Step:
    """Give both groups what they had; the devices' own trial may have done it before."""
    said = [record.reason.rstrip(".")]
    for kind, group in (
        ("fleet", place.target.settings.thing_group),
        ("canary", place.target.settings.canary_group),
    ):
        if kind not in record.deployments:
            continue
        before = record.before.get(kind, "")
        latest = deployments.latest(place.target, group)
        if latest is not None and latest.version == record.component:
            if latest.reached_devices:
                deployments.cancel(place.target, latest.id)
            if before:
                deployments.create(place.target, group, before, BACK)
        said.append(f"{group} is given {before} again" if before else f"{group} had none before")
    words = "; ".join(said)
    return Step(record.to("rolled-back", words, place.now()), words)


STEPS: Mapping[State, Callable[[Place, Record], Step]] = {
    "verify": verify,
    "copy": copy,
    "canary": canary,
    "watch": watch,
    "fleet": fleet,
    "roll-back": roll_back,
}


def _approved(place: Place, record: Record) -> Version:
    try:
        version = versions.read(place.source, record.package)
    except MissingError as error:
        raise RefusedError(str(error)) from None
    if version.status != versions.APPROVED:
        raise RefusedError(
            f"Version {version.number} of {version.group} is {version.status}: only an approved "
            "version is promoted."
        )
    return version


def _wait_for_package(place: Place, record: Record, version: Version) -> Step:
    """A version may be approved before it is compiled and packaged, by the pipeline itself."""
    seconds = 2 * place.source.settings.processing.max_runtime_seconds
    if place.now() - version.created > timedelta(seconds=seconds):
        raise RefusedError(
            f"Version {version.number} of {version.group} has no package that is noted with it: "
            "run the pipeline to its end, or push a run that has one."
        )
    return Step(record, "waits until it is compiled and packaged", 2 * SOON)


def _groups(target: Account, component: str) -> dict[str, str]:
    """What canary and fleet have, after it was seen that the version is not older.

    Raises:
        RefusedError: One of them has a newer version, or there is no canary.
    """
    settings = target.settings
    if not following.things(target, settings.canary_group):
        raise RefusedError(
            f"{settings.canary_group} has no device, so nothing would stop a bad version: "
            "provision one with slm fleet provision NAME --canary."
        )
    before: dict[str, str] = {}
    for kind, group in (("canary", settings.canary_group), ("fleet", settings.thing_group)):
        past = (one for one in deployments.history(target, group) if one.reached_devices)
        there = (one.version for one in past if one.version)
        now = next(there, component)
        if releasing.order(now) > releasing.order(component):
            raise RefusedError(
                f"{group} has {now}, which is newer than {component}: a version is not replaced "
                "by an older one; to go back, use slm fleet rollback."
            )
        earlier = now if now != component else next((v for v in there if v != component), "")
        if earlier:
            before[kind] = earlier
    return before


def _deployed(place: Place, record: Record, kind: str, group: str) -> tuple[Record, Deployment]:
    """The group's deployment of the version, made unless it is there."""
    latest = deployments.latest(place.target, group)
    if kind in record.deployments:
        known = latest or deployments.read(place.target, record.deployments[kind])
        return record, known
    if latest is None or latest.version != record.component or not latest.reached_devices:
        identity = deployments.create(place.target, group, record.component, Rollout())
        latest = deployments.read(place.target, identity)
    return replace(record, deployments={**record.deployments, kind: latest.id}), latest


def _overtaken(record: Record, kind: str, latest: Deployment | None, group: str) -> str:
    """What somebody else deployed to the group, in words; empty if nobody did."""
    if latest is not None and latest.id == record.deployments.get(kind):
        return ""
    there = latest.version if latest is not None and latest.version else "nothing of ours"
    return f"{there} was deployed to {group} meanwhile, by another than this promotion"


def _progress(target: Account, group: str, identity: str) -> Progress:
    return following.follow(target, group, identity, minutes=0, say=lambda _: None)


def _reached(progress: Progress) -> str:
    words = f"{len(progress.done)} of {len(progress.devices)} devices of {progress.group} took it"
    if progress.failed:
        words += f", {len(progress.failed)} failed, as {min(progress.failed)}"
    if progress.waiting:
        words += f", {len(progress.waiting)} get it when they connect, as {progress.waiting[0]}"
    return words


def _pace(seconds: float, minutes: int) -> float:
    """Seconds between two looks, where ``minutes`` are looked at at most."""
    return max(seconds, 60 * minutes / LOOKS)


def _over(place: Place, record: Record, minutes: int) -> bool:
    since = datetime.fromisoformat(record.since)
    return place.now() - since >= timedelta(minutes=minutes)


def _began(record: Record, state: State) -> datetime:
    """When the promotion came to ``state`` last."""
    times = [entry.at for entry in record.history if entry.state == state]
    return datetime.fromisoformat(times[-1] if times else record.started)


def _counts(watched: Mapping[str, Mapping[str, object]], which: str) -> Counts | None:
    return Counts.of(watched[which]) if which in watched else None


def _limits(target: Account) -> Limits:
    told = target.settings.promotion
    return Limits(
        told.min_utterances,
        told.max_error_rate,
        told.max_latency_ratio,
        told.max_out_of_scope_change,
    )
