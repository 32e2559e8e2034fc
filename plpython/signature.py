"""Signatures of model versions: what is signed, and whose signature it is.

A signature (Ed25519) covers the file's digest and everything that decides what the file is taken
for: the model's name, the format, the contract and the linear form. One made for a version is
worth nothing for another model, another contract or other weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescore.errors import PythonMissing
from rescore.plpython.artifact import Format

_PURPOSE = b"rescore model version 1\n"
_KEYS = "SELECT name, public_key FROM rescore.trusted_keys ORDER BY name"


@dataclass(frozen=True)
class Claim:
    """What a signature vouches for.

    Attributes
    ----------
    model: name of the model.
    format: of the artefact.
    sha256: digest of the artefact, hexadecimal.
    contract: the version's contract as JSON values.
    linear: its linear form as JSON values; None if it is not linear.
    """

    model: str
    format: Format
    sha256: str
    contract: Mapping[str, Any] | None
    linear: Mapping[str, Any] | None

    def message(self) -> bytes:
        """Return the bytes that are signed: the same here and in the server."""
        claim = {
            "model": self.model,
            "format": self.format,
            "sha256": self.sha256,
            "contract": _digest(self.contract),
            "linear": _digest(self.linear),
        }
        return _PURPOSE + _canonical(claim)


def _digest(value: Any) -> str | None:
    return None if value is None else hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    """Return JSON in one way of writing, whatever a database has made of it in between."""
    text = json.dumps(_as_floats(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def _as_floats(value: Any) -> Any:
    """Return the value with floats for all numbers: PostgreSQL writes 1e3 as 1000, -0.0 as 0."""
    if isinstance(value, Mapping):
        return {str(key): _as_floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_floats(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) + 0.0
    return value


def signer(keys: Mapping[str, bytes], claim: Claim, signature: bytes) -> str | None:
    """Return the name of the key that made a signature, None if none of them did.

    Parameters
    ----------
    keys: public keys, 32 bytes each, by name.
    claim: what is vouched for.
    signature: 64 bytes.

    Raises
    ------
    PythonMissing
        If the library that checks signatures is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise PythonMissing(
            f"signatures cannot be checked: {error}",
            detail="Keys are registered in rescore.trusted_keys: nothing is published unchecked.",
            hint="Install the package cryptography where this Python finds it.",
        ) from error
    try:
        message = claim.message()
    except (OverflowError, RecursionError, ValueError):  # numbers and depths of no contract
        return None
    for name, key in keys.items():
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except InvalidSignature:
            continue
        return name
    return None


def signer_of(
    plpy: Any,
    model: str,
    format: str,
    sha256: str,
    contract: str | None,
    linear: str | None,
    signature: bytes,
) -> str | None:
    """Return the name of the registered key that signed a version, None if none did.

    Parameters
    ----------
    plpy: of the calling function.
    contract, linear: JSON.
    """
    keys = {row["name"]: row["public_key"] for row in plpy.execute(_KEYS)}
    claim = Claim(
        model,
        format,  # type: ignore[arg-type]  # checked before
        sha256,
        None if contract is None else json.loads(contract),
        None if linear is None else json.loads(linear),
    )
    return signer(keys, claim, signature)
