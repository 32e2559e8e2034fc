"""Alembic's entry: runs the migrations on the connection ``sql/install.py`` hands over.

There is no ini file and no offline mode: the caller owns the connection and its transaction.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from rescore.migrations.tables import SCHEMA, metadata


def _only_our_schema(name: str | None, type_: str, parents: object) -> bool:
    return type_ != "schema" or name == SCHEMA


def run_migrations() -> None:
    """Run inside the transaction the connection is in."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=_only_our_schema,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run_migrations()
