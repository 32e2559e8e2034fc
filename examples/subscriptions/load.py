"""Write the company into a database: ``python -m rescore.examples.subscriptions.load``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import groupby

from psycopg import sql

from rescore.examples.subscriptions.rows import Arrival, arrivals
from rescore.examples.subscriptions.world import generate
from rescore.trainer.database import Connection, connection

COLUMNS = {
    "accounts": ("account_id", "plan", "country", "signed_up_at"),
    "subscriptions": ("subscription_id", "account_id", "started_at"),
    "invoices": ("subscription_id", "issued_at", "amount"),
    "payments": ("account_id", "paid_at", "amount", "failed"),
    "tickets": ("client_ref", "opened_at", "severity"),
    "usage": ("account_id", "used_at", "minutes", "loaded_at"),
    "status_changes": ("account_id", "changed_at", "status"),
    "offers": ("account_id", "sent_at", "discount"),
}


def text(name: str) -> str:
    """Return a file of this example."""
    return files("rescore.examples.subscriptions").joinpath(name).read_text(encoding="utf-8")


def write(conn: Connection, rows: Sequence[Arrival]) -> None:
    """Copy rows into their tables, then bring the accounts' status to their last change."""
    for table, columns in COLUMNS.items():
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            for each in rows:
                if each.table == table:
                    copy.write_row(each.row)
    conn.execute(sql.SQL(text("status.sql")))


def live(conn: Connection, rows: Sequence[Arrival]) -> None:
    """Write rows day by day, the clock at the end of each day."""
    for _, some in groupby(rows, key=lambda each: each.at.date()):
        batch = list(some)
        conn.execute(sql.SQL(text("clock.sql")), (batch[-1].at,))
        write(conn, batch)


def main() -> None:
    """Write a company of the usual size into the database that RESCORE_DSN names."""
    with connection() as conn:
        write(conn, arrivals(generate()))


if __name__ == "__main__":
    main()
