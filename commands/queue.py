"""``fold``, ``pause`` and ``resume``: what waits to be counted, and when nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rescore import console
from rescore.commands.options import Dsn, Json, Profile

if TYPE_CHECKING:
    from rescore.trainer.database import Connection


Timeout = Annotated[float, typer.Option(help="Seconds to wait for the tables, each time.")]


def fold(
    profile: Profile,
    dsn: Dsn = None,
    batch: Annotated[int, typer.Option(help="Most rows per transaction.", min=1)] = 1000,
    json: Json = False,
) -> None:
    """Count what waits in the queue of a profile now, as `rescore run` does all the time."""
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        _fold(conn, profile, batch, json)


def pause(
    profile: Profile,
    dsn: Dsn = None,
    reason: Annotated[str | None, typer.Option(help="Why; shown with the pause.")] = None,
    lock_timeout: Timeout = 0.5,
    json: Json = False,
) -> None:
    """Stop every effect of a profile on who writes its tables, until it is resumed."""
    from rescore.trainer import pause as pausing
    from rescore.trainer.database import connection

    with connection(dsn, admin=True) as conn:
        disabled = pausing.pause(conn, profile, reason, lock_timeout=lock_timeout)
    console.show_one({"profile": profile, "triggers disabled": disabled}, json)


def resume(
    profile: Profile,
    dsn: Dsn = None,
    lock_timeout: Timeout = 0.5,
    batch: Annotated[int, typer.Option(help="Most customers per transaction.", min=1)] = 1000,
    json: Json = False,
) -> None:
    """End a pause, and count what happened meanwhile; repeated, it goes on."""
    from rescore.trainer import pause as pausing
    from rescore.trainer.database import connection

    with connection(dsn, admin=True) as conn:
        pausing.resume(conn, profile, lock_timeout=lock_timeout)
        _fold(conn, profile, batch, json)


def _fold(conn: Connection, profile: str, batch: int, json: bool) -> None:
    from rescore.trainer import operations as ops

    with console.progress(f"count {profile}", quiet=json) as progress:
        folded = ops.fold(conn, profile, batch, progress)
    told = {"rows": folded.rows, "customers": folded.customers, "seconds": folded.seconds}
    console.show_one({"profile": profile, **told}, json)
