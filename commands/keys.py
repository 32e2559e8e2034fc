"""``rescore keys``: keys to sign model versions with, and those a database trusts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rescore import console
from rescore.commands.options import Dsn, Json

keys = typer.Typer(name="keys", no_args_is_help=True, help="Keys that sign model versions.")


Name = Annotated[str, typer.Argument(help="Name of the key.")]


@keys.command("generate")
def generate(
    file: Annotated[Path, typer.Argument(help="New file for the private key; FILE.pub is public.")],
    json: Json = False,
) -> None:
    """Make a key file, readable by its owner only, and the public key beside it."""
    from rescore.trainer import keys as trusted

    public = trusted.generate(file)
    made = {"key": file, "public": public}
    console.show_one(made | {"fingerprint": trusted.fingerprint(trusted.public_key(public))}, json)


@keys.command("add")
def add(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File of the public key.")],
    dsn: Dsn = None,
    json: Json = False,
) -> None:
    """Trust a public key: from now on publishing asks for a signature by a registered key."""
    from rescore.trainer import keys as trusted
    from rescore.trainer.database import connection

    with connection(dsn, admin=True) as conn:
        console.show_one({"name": name, "fingerprint": trusted.add(conn, name, file)}, json)


@keys.command("list")
def list_keys(dsn: Dsn = None, json: Json = False) -> None:
    """List the registered keys."""
    from rescore.trainer import keys as trusted
    from rescore.trainer.database import connection

    with connection(dsn, admin=True) as conn:
        rows = trusted.registered(conn)
    console.show(rows, as_json=json, empty="no keys: versions need no signature")


@keys.command("remove")
def remove(name: Name, dsn: Dsn = None, json: Json = False) -> None:
    """Trust a key no longer; the versions it signed stay."""
    from rescore.trainer import keys as trusted
    from rescore.trainer.database import connection

    with connection(dsn, admin=True) as conn:
        trusted.remove(conn, name)
    console.show_one({"name": name, "removed": True}, json)
