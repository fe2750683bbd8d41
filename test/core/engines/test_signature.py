"""Only a manifest that a trusted key signed, as it is now, verifies."""

from __future__ import annotations

import itertools
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_engines import add_engine, snapshot

pytest.importorskip("cryptography", reason="cryptography is not installed")
from gps_denied_inference.core.engines import EngineGate, EngineStore, HostTuple
from gps_denied_inference.core.engines.signature import (
    generate_key,
    sign_manifest,
    verify_manifest,
)
from gps_denied_inference.core.errors import EngineManifestError


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    store = EngineStore(tmp_path / "store")
    add_engine(store)
    return store


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    generate_key(path)
    return path


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def test_signed_manifest_verifies_and_names_its_key(store: EngineStore, key: Path, tmp_path: Path) -> None:
    other = generate_key(tmp_path / "other.pem")
    signature = json.loads(sign_manifest(store, key).read_bytes())
    assert verify_manifest(store, (other, public(key))) == signature["key_id"]
    assert signature["algorithm"] == "ed25519"


def test_private_key_is_its_owners_and_is_never_overwritten(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with pytest.raises(EngineManifestError, match="does not exist yet"):
        generate_key(key)
    assert key.read_bytes() == before
    assert b"PRIVATE" not in public(key).read_bytes()


def test_unsigned_manifest_is_refused_with_the_command(store: EngineStore, key: Path) -> None:
    with pytest.raises(EngineManifestError, match=r"not signed; sign it: gdi engine sign --store"):
        verify_manifest(store, (public(key),))


def test_no_trusted_key_is_an_error_even_for_a_signed_manifest(store: EngineStore, key: Path) -> None:
    sign_manifest(store, key)
    with pytest.raises(EngineManifestError, match="no key is trusted"):
        verify_manifest(store, ())


def test_key_that_is_not_trusted_is_refused_by_its_id(store: EngineStore, key: Path, tmp_path: Path) -> None:
    trusted = generate_key(tmp_path / "other.pem")
    signature = json.loads(sign_manifest(store, key).read_bytes())
    with pytest.raises(EngineManifestError, match=signature["key_id"]):
        verify_manifest(store, (trusted,))


def test_key_that_claims_a_trusted_id_is_refused(store: EngineStore, key: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    generate_key(other)
    trusted_id = json.loads(sign_manifest(store, key).read_bytes())["key_id"]
    path = sign_manifest(store, other)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "key_id": trusted_id}))
    with pytest.raises(EngineManifestError, match="was changed since"):
        verify_manifest(store, (public(key),))


def test_any_change_of_the_store_voids_the_signature(store: EngineStore, key: Path) -> None:
    sign_manifest(store, key)
    add_engine(store, b"another")
    with pytest.raises(EngineManifestError, match="was changed since key"):
        verify_manifest(store, (public(key),))
    sign_manifest(store, key)
    verify_manifest(store, (public(key),))


@pytest.mark.parametrize("position", [0, 1, 40, -2, -1])
def test_changed_byte_of_the_manifest_voids_the_signature(store: EngineStore, key: Path, position: int) -> None:
    sign_manifest(store, key)
    path = store.root / "manifest.json"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(EngineManifestError, match="was changed since key"):
        verify_manifest(store, (public(key),))


def test_signature_covers_space_that_json_does_not_see(store: EngineStore, key: Path) -> None:
    sign_manifest(store, key)
    with (store.root / "manifest.json").open("ab") as file:
        file.write(b"\n")
    store.manifest()
    with pytest.raises(EngineManifestError, match="was changed since key"):
        verify_manifest(store, (public(key),))


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.pop("signature"),
        lambda found: found.pop("key_id"),
        lambda found: found.pop("algorithm"),
        lambda found: found.update(signature="not base64!"),
        lambda found: found.update(signature=None),
        lambda found: found.update(key_id=["a"]),
        lambda found: found.update(algorithm="none"),
        lambda found: found.update(signature=""),
    ],
)
def test_damaged_signature_is_refused(
    damage: Callable[[dict[str, Any]], object], store: EngineStore, key: Path
) -> None:
    path = sign_manifest(store, key)
    found = json.loads(path.read_bytes())
    damage(found)
    path.write_text(json.dumps(found))
    with pytest.raises(EngineManifestError):
        verify_manifest(store, (public(key),))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_what_is_no_signature_is_refused(content: bytes, store: EngineStore, key: Path) -> None:
    sign_manifest(store, key).write_bytes(content)
    with pytest.raises(EngineManifestError, match="is no signature"):
        verify_manifest(store, (public(key),))


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN PUBLIC KEY-----\n", b"\x00"])
def test_unreadable_trusted_key_is_refused_by_name(
    content: bytes | None, store: EngineStore, key: Path, tmp_path: Path
) -> None:
    sign_manifest(store, key)
    path = tmp_path / "trusted.pub"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineManifestError, match=r"trusted\.pub"):
        verify_manifest(store, (path, public(key)))


def test_keys_of_another_kind_are_refused(store: EngineStore, key: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    elliptic = ec.generate_private_key(ec.SECP256R1())
    private, trusted = tmp_path / "ec.pem", tmp_path / "ec.pub"
    private.write_bytes(
        elliptic.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    trusted.write_bytes(
        elliptic.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(EngineManifestError, match="no Ed25519 key"):
        sign_manifest(store, private)
    sign_manifest(store, key)
    with pytest.raises(EngineManifestError, match="no Ed25519 public key"):
        verify_manifest(store, (trusted,))
    with pytest.raises(EngineManifestError, match="trusted key"):
        verify_manifest(store, (key,))


def test_private_key_in_the_store_is_refused(store: EngineStore) -> None:
    path = store.root / "key.pem"
    generate_key(path)
    with pytest.raises(EngineManifestError, match="lies in the engine store"):
        sign_manifest(store, path)
    assert not (store.root / "manifest.json.sig").exists()


def test_signing_what_is_no_store_makes_none(tmp_path: Path, key: Path) -> None:
    with pytest.raises(EngineManifestError, match="no engine store"):
        sign_manifest(EngineStore(tmp_path / "mistyped"), key)
    assert not (tmp_path / "mistyped").exists()


def test_gate_asks_for_a_signature_only_when_it_is_required(store: EngineStore, key: Path) -> None:
    path = store.path_of(store.manifest().entries[0])
    assert EngineGate(store, HostTuple()).validate(path).is_accepted
    strict = EngineGate(store, HostTuple(), require_signature=True, trusted_keys=(public(key),))
    refused = strict.validate(path)
    assert type(refused.error) is EngineManifestError and refused.steps[-1].name == "signature"
    sign_manifest(store, key)
    before = snapshot(store.root)
    assert strict.validate(path).is_accepted
    assert snapshot(store.root) == before
    keyless = EngineGate(store, HostTuple(), require_signature=True).validate(path)
    assert [step.name for step in keyless.steps if not step.passed] == ["signature"]


def test_manifest_that_is_signed_is_the_one_that_is_used(
    store: EngineStore, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Somebody shows another manifest at every second reading.
    path = store.path_of(store.manifest().entries[0])
    sign_manifest(store, key)
    signed = store.manifest_bytes()
    forged = signed.replace(b"Apache-2.0", b"Forged-2.0")
    for shown in ([forged, signed], [signed, forged]):
        readings = itertools.cycle(shown)
        with monkeypatch.context() as patched:
            patched.setattr(EngineStore, "manifest_bytes", lambda _self, readings=readings: next(readings))
            gate = EngineGate(store, HostTuple(), require_signature=True, trusted_keys=(public(key),))
            verdict = gate.validate(path)
        assert verdict.is_accepted == (shown[0] is signed)
        assert verdict.manifest_entry is not None
        assert (verdict.manifest_entry.license == "Apache-2.0") == verdict.is_accepted
