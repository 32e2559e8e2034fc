"""The hash of a snapshot's customer, kept so that learning need not compute it.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Alter the table; the statements stand in the .sql file of the same name."""
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    connection = op.get_bind().execution_options(no_parameters=True)
    connection.exec_driver_sql(statements)
    connection.execution_options(no_parameters=False)
