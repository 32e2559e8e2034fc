"""Keys: making them, signing with them, and registering those a database trusts.

Key files are PEM (PKCS #8, and its public counterpart), as ``openssl genpkey -algorithm ed25519``
writes them too.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from rescore.plpython.signature import Claim
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.usage import WrongUsage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VARIABLE = "RESCORE_KEY"
"""Environment variable that names the key file to sign with."""


def generate(path: Path) -> Path:
    """Make a key: the private one in `path`, for its owner's eyes, and the public one beside it.

    Returns
    -------
    The file of the public key: `path` with ``.pub`` appended.

    Raises
    ------
    WrongUsage: one of the files is there already.
    OSError: the directory cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public_path = path.with_name(f"{path.name}.pub")
    for file in (path, public_path):
        if file.exists():
            raise WrongUsage(f"{file} is there already", hint="name another file")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _create(path, private, 0o600)
    _create(public_path, public, 0o644)
    return public_path


def _create(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def sign(path: Path, claim: Claim) -> bytes:
    """Return the signature of a version, 64 bytes.

    Raises
    ------
    WrongUsage: the file holds no Ed25519 key, or others may read it.
    """
    return _private_key(path).sign(claim.message())


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = _loaded(path, lambda pem: load_pem_private_key(pem, password=None))
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise WrongUsage(
            f"{path} can be read or written by others",
            hint=f"run `chmod 600 {shlex.quote(str(path))}`",
        )
    return key


def public_key(path: Path) -> bytes:
    """Return the public key in a file, 32 bytes.

    Raises
    ------
    WrongUsage: the file holds no public Ed25519 key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = _loaded(path, load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key.public_bytes_raw()


def _loaded(path: Path, load: Callable[[bytes], Any]) -> Any:
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise WrongUsage(
            f"cannot read {path}: {error.strerror}", hint="name the file of a key"
        ) from error
    except (ValueError, TypeError):  # no PEM, or one that asks for a password
        return None


def _no_key(path: Path, kind: str) -> WrongUsage:
    return WrongUsage(
        f"{path} holds no {kind} Ed25519 key",
        detail="Expected PEM, without a password.",
        hint="make one with `rescore keys generate FILE`",
    )


def fingerprint(key: bytes) -> str:
    """Return what people compare in place of a public key: the start of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:16]


def add(conn: Connection, name: str, path: Path) -> str:
    """Register a public key under a name; return its fingerprint.

    Raises
    ------
    WrongUsage: the name is no name, or the name or the key is registered already.
    NotAllowed: the role may not write ``rescore.trusted_keys``.
    """
    key = public_key(path)
    if not 1 <= len(name.encode()) <= 63 or not name.isprintable():
        raise WrongUsage(f"{name!r} is no name of a key", detail="A name has 1 to 63 bytes.")
    with translated():
        if one(conn, query("keys_add"), (name, key)) is None:
            raise WrongUsage(
                f'the name "{name}" or the key {fingerprint(key)} is registered already',
                hint="`rescore keys list` shows all; `rescore keys remove` makes room",
            )
    return fingerprint(key)


def registered(conn: Connection) -> list[dict[str, Any]]:
    """Return the registered keys: name, fingerprint, since when, by whom, versions signed."""
    with translated(), conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query("keys_list")).fetchall()
    for row in rows:
        row["fingerprint"] = fingerprint(row.pop("public_key"))
    return rows


def remove(conn: Connection, name: str) -> None:
    """Trust a key no longer; the versions it signed stay.

    Raises
    ------
    WrongUsage: no key has that name.
    NotAllowed: the role may not write ``rescore.trusted_keys``.
    """
    with translated():
        if one(conn, query("keys_remove"), (name,)) is None:
            names = ", ".join(row["name"] for row in registered(conn)) or "none"
            raise WrongUsage(f'no key is named "{name}"', detail=f"Registered keys: {names}.")
