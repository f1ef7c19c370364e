from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from pipeline.local.environment import Surroundings, job_environment
from pipeline.local.signing import signing_key


def environment(home: Path, endpoint_url: str | None, **own: str) -> dict[str, str]:
    surroundings = Surroundings(home, home, "execution", "commit", endpoint_url)
    return job_environment(surroundings, "Processing", "job", own, "/ml", in_container=False)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    private = signing_key(tmp_path)
    first = private.read_bytes()
    assert signing_key(tmp_path).read_bytes() == first
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    key = load_pem_private_key(first, password=None)
    assert isinstance(key, Ed25519PrivateKey)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert (private.parent / "public.pem").read_bytes() == public
    assert {path.name for path in private.parent.iterdir()} == {"private.pem", "public.pem"}


def test_runs_that_begin_at_once_share_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        found = pool.map(signing_key, [tmp_path] * 32)
    assert {path.read_bytes() for path in found} == {found[0].read_bytes()}
    key = load_pem_private_key(found[0].read_bytes(), password=None)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert (tmp_path / "signing" / "public.pem").read_bytes() == public


def test_a_lost_public_key_is_written_again(tmp_path: Path) -> None:
    public = signing_key(tmp_path).with_name("public.pem")
    before = public.read_bytes()
    public.unlink()
    signing_key(tmp_path)
    assert public.read_bytes() == before


def test_the_laptops_key_stands_in_for_the_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "SLM_WHEELS", "/wheels")
    arn = "arn:aws:kms:eu-west-1:111111111111:alias/slm-edge-dev-signing"
    emulated = environment(tmp_path, "http://127.0.0.1:1", SLM_SIGNING_KEY=arn)
    assert emulated["SLM_SIGNING_KEY"] == arn
    assert not (tmp_path / "signing").exists()
    assert "SLM_SIGNING_KEY" not in environment(tmp_path, None)
    given = environment(tmp_path, None, SLM_SIGNING_KEY=arn)
    assert given["SLM_SIGNING_KEY"] == f"file:{tmp_path / 'signing' / 'private.pem'}"
    assert given["SLM_WHEELS"] == "/wheels"
