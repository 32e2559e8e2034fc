"""A model's label as SQL: which events, for whom, and how long after the moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescore.compiler.catalog import Table, read_table
from rescore.compiler.expression import check
from rescore.compiler.features import instant
from rescore.compiler.quoting import ident
from rescore.errors import DoesNotFit
from rescore.trainer.database import Connection


@dataclass(frozen=True)
class Label:
    """The events a label looks for; SQL over ``e``, the event, and ``l``, its link.

    Attributes
    ----------
    name: of the label.
    absence: the label is 1 when there is no event, else when there is one.
    relation, join, key, time, condition: where the events are, whose and when, and which count.
    after, within: the horizon, from ``moment + after`` (not included) to ``moment + within``.
    """

    name: str
    absence: bool
    relation: str
    join: str
    key: str
    time: str
    condition: str
    after: str
    within: str


def read_label(conn: Connection, definition: Mapping[str, Any], name: str) -> Label:
    """Resolve a label of a stored definition against the tables of the database.

    Raises
    ------
    DoesNotFit: its event table or link is gone, or the event has no time.
    """
    label = definition["labels"][name]
    source = label.get("none") or label["any"]
    event = definition["events"][source]
    table = _table(conn, event.get("table") or source, f"events.{source}")
    join, key = _key(conn, definition, source)
    return Label(
        name=name,
        absence=bool(label.get("none")),
        relation=ident(table.schema, table.name),
        join=join,
        key=f"{key}::{definition['profile']['key']['type']}",
        time=_time(table, source, event, definition["profile"].get("timezone") or "UTC"),
        condition=_condition(label.get("where"), table, name),
        after=label.get("after") or "0 days",
        within=label["within"],
    )


def _table(conn: Connection, name: str, place: str) -> Table:
    table = read_table(conn, name)
    if table is None:
        raise DoesNotFit(
            f"{place}: there is no table {name}", hint="apply the definition again to see what is"
        )
    return table


def _key(conn: Connection, definition: Mapping[str, Any], source: str) -> tuple[str, str]:
    """Return the join to the link, or nothing, and the column that holds the key."""
    event = definition["events"][source]
    if not event.get("via"):
        return "", f"e.{ident(event.get('key') or definition['profile']['key']['name'])}"
    link = definition["links"][event["via"]]
    table = _table(conn, link["table"], f"links.{event['via']}")
    on = ident(link["on"])
    join = f"JOIN {ident(table.schema, table.name)} AS l ON l.{on} = e.{on}"
    return join, f"l.{ident(link['gives'])}"


def _time(table: Table, source: str, event: Mapping[str, Any], zone: str) -> str:
    if not event.get("time"):
        raise DoesNotFit(
            f"events.{source} has no time, so no past outcome can be told from it",
            hint="name its time column in the definition",
        )
    column = table.column(event["time"], f"events.{source}.time")
    return instant(f"e.{ident(column.name)}", column.type, zone)


def _condition(where: str | None, table: Table, name: str) -> str:
    return check(where, table.columns.keys(), f"label {name}").render("e") if where else "true"
