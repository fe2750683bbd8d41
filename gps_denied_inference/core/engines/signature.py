"""Ed25519 signature of a store's manifest: who prepared these engines."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gps_denied_inference.core.atomic_files import open_regular, write_atomically
from gps_denied_inference.core.engines.store import SIGNATURE_NAME, EngineStore
from gps_denied_inference.core.errors import EngineManifestError
from gps_denied_inference.core.optional import require

__all__ = ["generate_key", "require_key_outside", "sign_manifest", "verify_manifest"]

_ALGORITHM = "ed25519"


def generate_key(private_path: Path) -> Path:
    """Make a key pair: the private key (PEM, PKCS 8, readable by the owner alone) and, beside it, `.pub`.

    Returns:
        path of the public key.

    Raises:
        EngineManifestError: the file exists, or cannot be written.
        RuntimeNotAvailableError: the package cryptography is absent.
    """
    serialization = _cryptography("cryptography.hazmat.primitives.serialization")
    key = _ed25519().Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public_path = private_path.with_name(private_path.name + ".pub")
    try:
        descriptor = os.open(private_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(private)
        public_path.write_bytes(public)
    except OSError as error:
        raise EngineManifestError(
            f"cannot write the key {private_path} ({error.strerror}); give a path that does not exist yet"
        ) from error
    return public_path


def require_key_outside(store: EngineStore, private_key: Path) -> None:
    """Refuse a private key inside the store, which travels to the vehicle, and whose unknown files are pruned.

    Raises:
        EngineManifestError: it lies there.
    """
    if store.root.resolve() in private_key.resolve().parents:
        raise EngineManifestError(
            f"the private key {private_key} lies in the engine store, which the vehicle gets; keep it elsewhere"
        )


def sign_manifest(store: EngineStore, private_key: Path) -> Path:
    """Sign what the manifest says now; any later change of the store wants a new signature.

    Returns:
        path of the signature.

    Raises:
        EngineManifestError: the manifest is missing or malformed, or the key is unreadable, of another kind, or in the
            store.
        EngineBuildError: the store cannot be written.
        RuntimeNotAvailableError: the package cryptography is absent.
    """
    require_key_outside(store, private_key)
    serialization = _cryptography("cryptography.hazmat.primitives.serialization")
    try:
        key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, _cryptography("cryptography.exceptions").UnsupportedAlgorithm) as error:
        raise EngineManifestError(f"cannot read the private key {private_key} ({error}); give a PEM file") from error
    if not isinstance(key, _ed25519().Ed25519PrivateKey):
        raise EngineManifestError(f"{private_key} is no Ed25519 key; make one with 'gdi engine sign --generate'")
    store.manifest()  # A mistyped folder is an error before it is made.
    path = store.root / SIGNATURE_NAME
    with store.writing():
        store.manifest()
        content = store.manifest_bytes()
        document = {
            "algorithm": _ALGORITHM,
            "key_id": _key_id(key.public_key()),
            "signature": base64.b64encode(key.sign(content)).decode("ascii"),
        }
        write_atomically(path, (json.dumps(document, sort_keys=True, indent=1) + "\n").encode("ascii"))
    return path


def verify_manifest(store: EngineStore, trusted_keys: Sequence[Path], manifest: bytes | None = None) -> str:
    """Check that a trusted key signed the manifest as it is.

    Args:
        store: whose manifest.
        trusted_keys: PEM files of public keys.
        manifest: its bytes, for who goes on to use just these; read here, when None.

    Returns:
        id of the key: the first 16 hex digits of the SHA-256 of its 32 bytes.

    Raises:
        EngineManifestError: unsigned, signed by another key, changed since, or a key file is unreadable.
        RuntimeNotAvailableError: the package cryptography is absent.
    """
    if not trusted_keys:
        raise EngineManifestError(
            "a signature is required, but no key is trusted; set trusted_keys to the public key of who prepares the "
            "engines"
        )
    keys = {_key_id(key): key for key in map(_public_key, trusted_keys)}
    path = store.root / SIGNATURE_NAME
    try:
        with open_regular(path) as file:
            document = json.loads(file.read().decode("ascii"))
        algorithm, key_id = document["algorithm"], document["key_id"]
        if not isinstance(key_id, str):
            raise TypeError(f"its key_id is {key_id!r}")
        signature = base64.b64decode(document["signature"], validate=True)
    except FileNotFoundError as error:
        raise EngineManifestError(
            f"the manifest of {store.root} is not signed; sign it: gdi engine sign --store {store.root} --key KEY"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise EngineManifestError(
            f"{path} is no signature ({error}); sign again: gdi engine sign --store {store.root} --key KEY"
        ) from error
    if algorithm != _ALGORITHM or key_id not in keys:
        raise EngineManifestError(
            f"the manifest of {store.root} is signed by key {key_id} ({algorithm}), trusted are {', '.join(keys)}; "
            "trust its public key in trusted_keys if it is yours, else do not fly these engines"
        )
    exceptions = _cryptography("cryptography.exceptions")
    try:
        keys[key_id].verify(signature, store.manifest_bytes() if manifest is None else manifest)
    except exceptions.InvalidSignature as error:
        raise EngineManifestError(
            f"the manifest of {store.root} was changed since key {key_id} signed it; find out by whom, then sign "
            f"again: gdi engine sign --store {store.root} --key KEY"
        ) from error
    return key_id


def _cryptography(module: str) -> Any:
    return require(module, install="pip install cryptography", purpose="signing and verifying engines")


def _ed25519() -> Any:
    return _cryptography("cryptography.hazmat.primitives.asymmetric.ed25519")


def _public_key(path: Path) -> Any:
    serialization = _cryptography("cryptography.hazmat.primitives.serialization")
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, _cryptography("cryptography.exceptions").UnsupportedAlgorithm) as error:
        raise EngineManifestError(f"cannot read the trusted key {path} ({error}); give a PEM file") from error
    if not isinstance(key, _ed25519().Ed25519PublicKey):
        raise EngineManifestError(
            f"{path} is no Ed25519 public key; give the .pub file of 'gdi engine sign --generate'"
        )
    return key


def _key_id(key: Any) -> str:
    serialization = _cryptography("cryptography.hazmat.primitives.serialization")
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]
