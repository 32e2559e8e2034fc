"""What the database says of the tables a definition names, as plain values.

The only module of the compiler that reads the database; everything after it is pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from rescore.compiler.definition_errors import did_you_mean
from rescore.compiler.queries import query
from rescore.errors import DoesNotFit


@dataclass(frozen=True)
class Column:
    """A column of a user's table.

    ``type`` is ``format_type`` of the base type without modifiers (domains resolved);
    ``bounded`` says that a numeric has a declared precision, so that no value of it is
    infinite, huge or vanishingly small. ``refers``: part of a foreign key. ``exact``: only texts
    of the same bytes are equal.
    """

    name: str
    type: str
    category: str
    bounded: bool
    not_null: bool
    default: str | None
    generated: bool
    identity: bool
    comparable: bool
    collation: str | None = None
    exact: bool = True
    refers: bool = False
    hashable: bool = False


@dataclass(frozen=True)
class Index:
    """A valid index: its leading columns, whether unique and usable by ON CONFLICT."""

    columns: tuple[str, ...]
    unique: bool
    partial: bool
    immediate: bool


@dataclass(frozen=True)
class Table:
    """A user's table: where it is, its columns by name and its indexes.

    ``parts``: schemas and names of the ordinary tables that are its partitions, at any depth;
    ``broken``: those of indexes left invalid by a CREATE INDEX CONCURRENTLY that was cut short.
    """

    schema: str
    name: str
    kind: str
    columns: Mapping[str, Column]
    indexes: tuple[Index, ...]
    parts: tuple[tuple[str, str], ...] = ()
    broken: tuple[tuple[str, str], ...] = ()

    def column(self, name: str, place: str) -> Column:
        """Return the column ``name``; :class:`DoesNotFit` naming ``place`` when there is none."""
        if name not in self.columns:
            raise DoesNotFit(
                f'{place}: table {self.schema}.{self.name} has no column "{name}"',
                detail=f"Its columns are {', '.join(sorted(self.columns))}.",
                hint=column_hint(name, self.columns),
            )
        return self.columns[name]

    def indexed_by(self, *names: str) -> bool:
        """Tell whether some full index starts with these columns."""
        return any(ix.columns[: len(names)] == names and not ix.partial for ix in self.indexes)

    def unique_on(self, name: str) -> Index | None:
        """Return the full unique index over just this column, an immediate one if there is any."""
        found = [
            ix for ix in self.indexes if ix.unique and not ix.partial and ix.columns == (name,)
        ]
        return next((ix for ix in found if ix.immediate), found[0] if found else None)


def read_table(conn: psycopg.Connection[Any], name: str) -> Table | None:
    """Return the table that ``name`` (optionally qualified, quoted as in SQL) means, or None."""
    with conn.cursor(row_factory=dict_row) as cur:
        try:
            found = cur.execute(query("table"), {"name": name}).fetchone()
        except (psycopg.errors.InvalidName, psycopg.errors.SyntaxError) as exc:
            raise DoesNotFit(
                f'"{name}" is no table name',
                detail=str(exc).splitlines()[0],
                hint='Write table, schema.table, or "Quoted Name".',
            ) from exc
        if found is None:
            return None
        columns = cur.execute(query("columns"), {"oid": found["oid"]}).fetchall()
        indexes = cur.execute(query("indexes"), {"oid": found["oid"]}).fetchall()
    parts, broken = (conn.execute(query(q), {"oid": found["oid"]}) for q in ("parts", "broken"))
    return Table(
        schema=found["schema"],
        name=found["name"],
        kind=found["kind"],
        columns={c["name"]: Column(**c) for c in columns},
        indexes=tuple(Index(**{**ix, "columns": tuple(ix["columns"])}) for ix in indexes),
        parts=tuple(parts),
        broken=tuple(broken),
    )


def similar_table(conn: psycopg.Connection[Any], name: str) -> str:
    """Return a table called so but for the case of letters or the schema, as SQL writes it."""
    row = conn.execute(query("similar_tables"), {"name": name}).fetchone()
    return str(row[0]) if row else ""


def column_hint(name: str, columns: Collection[str]) -> str:
    """Return what to do about a column that is not there."""
    other = next((c for c in columns if c.lower() == name.lower()), None)
    meant = f'Did you mean "{other}"?' if other else did_you_mean(name, columns)
    return meant or "Correct the name in the definition, or add the column."


def split_name(conn: psycopg.Connection[Any], name: str) -> tuple[str, str]:
    """Return schema and name of a table still to be created; unqualified means ``public``."""
    row = conn.execute(query("parse_name"), {"name": name}).fetchone()
    parts = list(row[0]) if row else []
    if len(parts) == 1:
        return "public", parts[0]
    if len(parts) == 2:
        return parts[0], parts[1]
    raise DoesNotFit(f'"{name}" is no table name', hint="Write table or schema.table.")
