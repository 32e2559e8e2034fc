"""The tables a definition names, found in the database, and whether the definition fits them."""

from __future__ import annotations

from typing import Any

import psycopg

from rescore.compiler.build import Tables
from rescore.compiler.catalog import Table, read_table, similar_table, split_name
from rescore.compiler.definition import Definition
from rescore.compiler.expression import check
from rescore.compiler.profile import Profile
from rescore.compiler.queries import query
from rescore.compiler.quoting import ident
from rescore.errors import DoesNotFit

Connection = psycopg.Connection[Any]


def stored_row(conn: Connection, name: str) -> dict[str, Any]:
    """Return what was applied before: table, definition, plan and where the backfill stands."""
    row = conn.execute(query("stored_profile"), {"profile": name}).fetchone()
    if row is None:
        return {"plan": {}, "backfill_from": None, "table": None, "definition": None}
    found = {"definition": row[2], "plan": row[3], "backfill_from": row[4]}
    return {"table": (row[0], row[1]), **found}


def find_tables(conn: Connection, definition: Definition) -> Tables:
    """Return the tables, with the profile's columns that rescore itself had added.

    Raises
    ------
    DoesNotFit
        A table is missing, or is not one that can serve.
    """
    owned = frozenset(stored_row(conn, definition.profile.name)["plan"].get("columns", {}))
    profile = read_table(conn, definition.profile.table)
    if profile and profile.kind not in ("r",):
        raise DoesNotFit(
            f"profile.table: {profile.schema}.{profile.name} is not an ordinary table",
            detail="A profile row is updated in place with each event.",
            hint="Name an ordinary table, or one that does not exist yet.",
        )
    here = (profile.schema, profile.name) if profile else split_name(conn, definition.profile.table)
    _check_schema(conn, here[0])
    found = _find(conn, definition)
    events = {n: found["events", n] for n in definition.events}
    links = {n: found["links", n] for n in definition.links}
    given = {"models": list(definition.models), "profile": definition.profile.name}
    serving = conn.execute(query("serving"), given)
    inputs = {model: tuple(names) for model, names in serving}
    hll = (conn.execute(query("hll_schema")).fetchone() or ("",))[0]
    labels = {n: found["labels", n] for n, x in definition.labels.items() if x.table}
    treatments = found["interventions", "table"] if definition.interventions else None
    return Tables(here[0], here[1], profile, events, links, owned, inputs, hll, labels, treatments)


def _check_schema(conn: Connection, name: str) -> None:
    """Refuse a schema for the profile table that is not there."""
    row = conn.execute(query("similar_schemas"), {"name": name}).fetchone()
    if row is None or row[0] != name:
        raise DoesNotFit(
            f"profile.table: schema {name} does not exist",
            detail="A profile table that is new is made in a schema that is there.",
            hint=f'Did you mean "{row[0]}"?' if row else f"Create it: CREATE SCHEMA {ident(name)};",
        )


def _find(conn: Connection, definition: Definition) -> dict[tuple[str, str], Table]:
    """Return the application's tables by section and name, or refuse all that are missing."""
    wanted = {("events", n): e.table for n, e in definition.events.items()}
    wanted |= {("links", n): k.table for n, k in definition.links.items()}
    wanted |= {("labels", n): x.table for n, x in definition.labels.items() if x.table}
    if definition.interventions:
        wanted["interventions", "table"] = definition.interventions.table
    read = {place: read_table(conn, name) for place, name in wanted.items()}
    found = {p: table for p, table in read.items() if table and table.kind in ("r", "p")}
    if missing := [place for place in wanted if place not in found]:
        similar = [similar_table(conn, wanted[place]) for place in missing]
        absent = [
            f"{'.'.join(p)}: table {wanted[p]} {'is not a table' if read[p] else 'does not exist'}"
            for p in missing
        ]
        raise _missing(absent, [name for name in similar if name])
    return found


def _missing(absent: list[str], similar: list[str]) -> DoesNotFit:
    """Return one error for all tables that are not there, and what some are called instead."""
    hint = "Correct the name (write schema.table off the search_path), or create it."
    if similar:
        quoted = next((f" In YAML: '{name}'." for name in similar if '"' in name), "")
        hint = f"Did you mean {' and '.join(dict.fromkeys(similar))}?{quoted}"
    detail = ["Tables of events, links, labels and treatments are the application's own."]
    detail += [f"Also: {other}" for other in absent[1:]]
    return DoesNotFit(absent[0], detail="\n".join(detail), hint=hint)


def check_expressions(conn: Connection, definition: Definition, tables: Tables) -> None:
    """Let PostgreSQL itself say whether each condition is boolean and immutable."""
    for name, feature in definition.features.items():
        if feature.where and feature.source:
            _try_condition(conn, feature.where, tables.events[feature.source], f"feature {name}")
    for name, label in definition.labels.items():
        if label.where:
            table = tables.events[label.source] if label.source else tables.labels[name]
            _try_condition(conn, label.where, table, f"label {name}")
    treated, treatments = definition.interventions, tables.treatments
    if treated and treated.where and treatments:
        _try_condition(conn, treated.where, treatments, "interventions.where")
    if definition.profile.only and tables.profile:
        _try_condition(conn, definition.profile.only, tables.profile, "profile.only")


def _try_condition(conn: Connection, text: str, table: Table, place: str) -> None:
    condition = check(text, table.columns.keys(), place).render(None)
    like = ident(table.schema, table.name)
    try:
        # The predicate of an index must be boolean and immutable: just what is needed here.
        with conn.transaction(force_rollback=True):
            conn.execute(b"SET LOCAL search_path = pg_catalog, pg_temp")
            conn.execute(f"CREATE TEMPORARY TABLE rescore_check (LIKE {like})".encode())
            conn.execute(f"CREATE INDEX ON pg_temp.rescore_check ((1)) WHERE {condition}".encode())
            foreign = conn.execute(query("not_built_in")).fetchone()
    except psycopg.Error as exc:
        # What the role may not read says nothing about the condition.
        if (exc.sqlstate or "")[:2] not in ("42", "22") or exc.sqlstate == "42501":
            raise
        raise DoesNotFit(
            f"{place}: {exc.diag.message_primary}",
            detail=f"In the condition {text}",
            hint="Write a boolean expression that depends on the row alone: immutable functions "
            "and operators of pg_catalog, no dates without a zone.",
        ) from exc
    if foreign:
        raise DoesNotFit(
            f"{place}: the condition calls {foreign[0]}",
            detail=f"In the condition {text}",
            hint="The type of a column has a cast of its own; compare a column of a built-in type.",
        )


def check_clashes(conn: Connection, profile: Profile) -> None:
    """Refuse a model or a table that another profile already has."""
    given = {"models": [m.name for m in profile.models], "profile": profile.name}
    for model, owner in conn.execute(query("model_owners"), given):
        raise DoesNotFit(
            f"model {model} belongs to profile {owner}",
            detail="A model's name is unique in the database.",
            hint="Give it another name.",
        )
    row = conn.execute(
        query("slug_owner"), {"slug": profile.slug, "profile": profile.name}
    ).fetchone()
    if row:
        raise DoesNotFit(
            f"profile {profile.name} would share its functions with profile {row[0]}",
            detail=f"Both shorten to {profile.slug}.",
            hint="A table has one profile; name the existing one, or another table.",
        )
