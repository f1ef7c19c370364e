from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest

from steps.contract import StepError
from steps.drift.sources import open_windows
from steps.drift.windows import MOST_BYTES
from tests.moto_server import reset, running

SINCE = date(2026, 11, 21)
FILES = {
    "a/2026/11/20/old.json": b"old",
    "a/2026/11/21/one.json": b"1",
    "a/2026/11/23/two.json": b"2",
    "b/2026/11/22/more.jsonl": b'{"n": 3}\n\n{"n": 4}\n{"n": 5}',
    "b/2026/11/22/readme.txt": b"no window",
}
WANTED = [
    ("a/2026/11/21/one.json", b"1"),
    ("a/2026/11/23/two.json", b"2"),
    ("b/2026/11/22/more.jsonl:1", b'{"n": 3}\n'),
    ("b/2026/11/22/more.jsonl:3", b'{"n": 4}\n'),
    ("b/2026/11/22/more.jsonl:4", b'{"n": 5}'),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "windows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "windows"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running() as address:
        yield address


@pytest.fixture
def bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], Any]:
    reset(address)
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3")
    s3.create_bucket(
        Bucket="windows", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    return lambda key, data: s3.put_object(Bucket="windows", Key=key, Body=data)


def test_a_folder_is_read_from_a_day_on_file_by_file_and_line_by_line(folder: Path) -> None:
    assert list(open_windows(str(folder), SINCE)) == WANTED


def test_a_bucket_is_read_as_a_folder_is(bucket: Callable[[str, bytes], Any]) -> None:
    for name, data in FILES.items():
        bucket(f"telemetry/{name}", data)
    bucket("elsewhere/2026/11/23/x.json", b"not ours")
    assert list(open_windows("s3://windows/telemetry", SINCE)) == WANTED


def test_only_what_is_new_enough_is_asked_of_the_bucket(
    bucket: Callable[[str, bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One listing a device, whose keys begin with the first day: the old ones are never named."""
    import botocore.client

    asked: list[tuple[str, dict[str, Any]]] = []
    call = botocore.client.BaseClient._make_api_call

    def spy(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        asked.append((operation, dict(arguments)))
        return call(self, operation, arguments)

    for device in ("a", "b", "c"):
        for day in range(1, 24):
            bucket(f"telemetry/{device}/2026/11/{day:02}/x.json", b"1")
    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", spy)
    assert len(list(open_windows("s3://windows/telemetry/", SINCE))) == 9
    operations = [operation for operation, _ in asked]
    assert operations.count("ListObjectsV2") == 4
    assert operations.count("GetObject") == 9


def test_lines_of_a_long_object_arrive_whole(bucket: Callable[[str, bytes], Any]) -> None:
    lines = [json.dumps({"n": number, "x": "y" * 3000}).encode() for number in range(200)]
    bucket("telemetry/a/2026/11/22/x.jsonl", b"\n".join(lines))
    found = [item.data.strip() for item in open_windows("s3://windows/telemetry", SINCE)]
    assert found == lines


def test_what_is_too_long_is_cut_to_be_refused(folder: Path) -> None:
    (folder / "b/2026/11/22/more.jsonl").write_bytes(b"x" * (3 * MOST_BYTES) + b"\n2\n")
    (folder / "a/2026/11/21/one.json").write_bytes(b"x" * (3 * MOST_BYTES))
    found = {item.path: item.data for item in open_windows(str(folder), SINCE)}
    assert len(found["a/2026/11/21/one.json"]) == MOST_BYTES + 1
    assert len(found["b/2026/11/22/more.jsonl:1"]) == MOST_BYTES + 1
    assert found["b/2026/11/22/more.jsonl:2"] == b"2\n"


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.json").write_text("{}")
    (folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    assert list(open_windows(str(folder), SINCE)) == WANTED


def test_a_place_that_is_missing_is_named(
    tmp_path: Path, bucket: Callable[[str, bytes], Any]
) -> None:
    with pytest.raises(StepError, match="is no folder of windows"):
        open_windows(str(tmp_path / "none"), SINCE)
    with pytest.raises(StepError, match=r"Could not list s3://no-such-bucket/t"):
        list(open_windows("s3://no-such-bucket/t", SINCE))
    with pytest.raises(StepError, match="is no place in S3"):
        list(open_windows("s3:///t", SINCE))
    assert list(open_windows("s3://windows/nothing/here", SINCE)) == []
