"""``rescore outbox``: who reads the outbox, and reading it."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from rescore import console
from rescore.commands.options import Dsn, Json

outbox = typer.Typer(
    name="outbox", no_args_is_help=True, help="Moves of scores, written for others to read."
)


class Start(str, Enum):
    """Where a new consumer begins."""

    beginning = "beginning"
    now = "now"


Consumer = Annotated[str, typer.Argument(help="Name of the consumer.")]


@outbox.command("list")
def list_consumers(dsn: Dsn = None, json: Json = False) -> None:
    """List the consumers, and how far each is behind."""
    from rescore.trainer import outbox as box
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        rows = box.consumers(conn)
    show = ("consumer", "pending", "oldest", "read_at", "acknowledged_at")
    console.show(rows, as_json=json, columns=show, empty="no consumers")


@outbox.command("read")
def read(
    consumer: Consumer,
    dsn: Dsn = None,
    batch: Annotated[int, typer.Option(help="Most rows at a time.", min=1)] = 1000,
    start: Annotated[
        Start | None, typer.Option(help="Register the consumer here if there is none.")
    ] = None,
    ack: Annotated[
        bool, typer.Option("--ack", help="Acknowledge what was printed, to the end.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on, acknowledging what was printed.")
    ] = False,
    every: Annotated[
        float, typer.Option(help="With --follow: seconds between looks.", min=0.01)
    ] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """Print the next rows; unless acknowledged they come again."""
    from rescore.trainer import outbox as box
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        if start is not None:
            box.register(conn, consumer, start.value)
        if not ack and not follow:
            _show_rows(box.read(conn, consumer, batch), json)
            return
        batches = box.batches(conn, consumer, batch, every if follow else None)
        for number, rows in enumerate(batches):
            _show_rows(rows, json, heading=not number)


@outbox.command("ack")
def ack(
    consumer: Consumer,
    position: Annotated[int, typer.Argument(metavar="ID", help="Id of the last row handled.")],
    dsn: Dsn = None,
    json: Json = False,
) -> None:
    """Acknowledge the rows read up to an id: they do not come again."""
    from rescore.trainer import outbox as box
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        done = box.acknowledge(conn, consumer, position)
    console.show_one({"consumer": consumer, "position": position, "acknowledged": done}, json)


@outbox.command("drop")
def drop(consumer: Consumer, dsn: Dsn = None, json: Json = False) -> None:
    """Forget a consumer and its place."""
    from rescore.trainer import outbox as box
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        box.drop(conn, consumer)
    console.show_one({"consumer": consumer, "dropped": True}, json)


@outbox.command("prune")
def prune(
    keep: Annotated[str, typer.Option(help="Interval: younger rows stay.")],
    dsn: Dsn = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what a consumer has not acknowledged.")
    ] = False,
    json: Json = False,
) -> None:
    """Delete old rows that every consumer has acknowledged."""
    from rescore.trainer import outbox as box
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        console.show_one({"deleted": box.prune(conn, keep, force=force)}, json)


def _show_rows(rows: list[dict[str, Any]], json: bool, *, heading: bool = True) -> None:
    if json:
        for row in rows:
            console.print_json(row)
        return
    show = ("id", "score", "key", "old", "new", "old_band", "new_band", "at")
    console.show(rows, as_json=False, columns=show, heading=heading)
