"""Names and values of every kind: refused by name, or they work from definition to score."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from pglast.parser import scan
from psycopg import sql
from psycopg.types.json import Jsonb

from rescore.compiler import render
from rescore.compiler.build import Tables, build
from rescore.compiler.catalog import Column, Index, Table
from rescore.compiler.definition import parse
from rescore.errors import BadDefinition, DoesNotFit
from rescore.tests.security.names import PLAIN, QUOTES, Names, made_of, names, values
from rescore.tests.support import define, one, publish
from rescore.trainer import operations as ops
from rescore.trainer.export import export
from rescore.trainer.train import train

Connection = psycopg.Connection[Any]


def column(name: str, type_: str, category: str) -> Column:
    return Column(name, type_, category, False, False, None, False, False, True)


def table(names: Names, name: str, *columns: Column) -> Table:
    return Table(names.schema, name, "r", {c.name: c for c in columns}, ())


def tables(names: Names) -> Tables:
    """What the catalogue would say of the tables."""
    key, text = column(names.key, "bigint", "N"), column(names.plan, "text", "S")
    time = column(names.time, "timestamp with time zone", "D")
    session = column(names.session, "bigint", "N")
    profile = table(names, names.profile, key, text)
    unique = (Index((names.key,), True, False, True),)
    return Tables(
        names.schema,
        names.profile,
        dataclasses.replace(profile, indexes=unique),
        {
            names.event: table(
                names,
                names.orders,
                key,
                time,
                column(names.amount, "numeric", "N"),
                column(names.kind, "text", "S"),
            ),
            names.other_event: table(names, names.visits, session, time),
        },
        {
            names.link: dataclasses.replace(
                table(names, names.sessions, session, key),
                indexes=(Index((names.session,), True, False, True),),
            )
        },
        labels={
            names.listed: table(names, names.orders, key, time, column(names.kind, "text", "S"))
        },
        treatments=table(
            names,
            names.visits_by,
            column(names.treated, "bigint", "N"),
            time,
            column(names.kind, "text", "S"),
        ),
    )


def printed(names: Names) -> str:
    """All the SQL made of a definition of these names."""
    profile = build(parse(names.definition()), tables(names))
    keyed = [("m", profile.key_type, profile.name)]
    return "\n".join(
        [render.functions(profile), render.triggers(profile), render.predict_key(keyed)]
    )


def tokens(sql: str) -> list[str]:
    """The kinds of tokens of a script and of its function bodies: one for a name or value, whatever is in it."""
    return [token.name for part in sql.split("$rescore$") for token in scan(part)]


EXPECTED = tokens(printed(PLAIN))


@given(made_of(names, values))
@settings(max_examples=40)
def test_no_name_or_value_is_more_than_a_token(drawn: Names) -> None:
    try:
        made = printed(drawn)
    except (BadDefinition, DoesNotFit):
        return
    assert tokens(made) == EXPECTED


@pytest.mark.parametrize("value", QUOTES)
def test_no_value_ends_the_body_of_a_function(value: str) -> None:
    with pytest.raises(BadDefinition, match=r"holds the text \$rescore\$"):
        printed(dataclasses.replace(PLAIN, value=value))


Opened = Callable[[], AbstractContextManager[Connection]]

NASTY = Names(
    schema="select",
    profile='it\'s "the" {{ 7 * 7 }} 漢字',
    orders="'; DROP TABLE x; --",
    visits="%s%(x)s%%I{0}",
    sessions="user",
    key='"',
    time="order by",
    amount="$1$a$$",
    kind="\\'\\",
    plan="a;b,c.d(e)[f]",
    session="table",
    link="é" * 31,
    event="/* -- */",
    other_event="--",
    count="{% if x %}",
    total="{# x #}",
    last="🦆" * 13,
    plain="end",
    label="NULL",
    listed="'); SELECT '",
    visits_by='"" ; -- $rescore_1$',
    treated="%L' {{ x }}",
    score="%I %L 'x' \"y\"",
    value="'; DROP TABLE x; -- \\ {{ x }} %s $1 \u202e \n 🦆",
    category="\\'; %L -- \n {{ x }} \u202e",
)


def test_names_of_every_kind_work_from_definition_to_score(fresh: Opened, tmp_path: Path) -> None:
    with fresh() as conn:
        make_tables(conn, NASTY)
        define(conn, NASTY.definition())
        work(conn, NASTY)
        learn(conn, NASTY, tmp_path)


def test_names_that_meet_in_three_underscores(fresh: Opened) -> None:
    three = dataclasses.replace(PLAIN, schema="a_", profile="_b")
    with fresh() as conn:
        make_tables(conn, three)
        define(conn, three.definition())
        work(conn, three)


@given(made_of(names, values))
@settings(
    max_examples=2, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_drawn_names_are_refused_by_name_or_work(fresh: Opened, drawn: Names) -> None:
    with fresh() as conn:
        make_tables(conn, drawn)
        try:
            define(conn, drawn.definition())
        except (BadDefinition, DoesNotFit):
            reject()
        work(conn, drawn)


def work(conn: Connection, n: Names) -> None:
    """Publish, count, score, explain and verify, all with these names."""
    assert define(conn, n.definition()).empty
    publish(conn, "m")
    insert(conn, n.sessions, {n.session: 7, n.key: 1}, n)
    insert(conn, n.visits, {n.session: 7}, n)
    for kind in (n.value, n.category, "other one"):
        insert(conn, n.orders, {n.key: 1, n.amount: 5, n.kind: kind}, n)
    row = {"t": sql.Identifier(n.schema, n.profile), "score": sql.Identifier(n.score)}
    wanted = [sql.Identifier(c) for c in (n.count, n.total, n.last, n.score)]
    query = sql.SQL("SELECT {}, rescore.predict('m', p) FROM {t} AS p").format(
        sql.SQL(", ").join(wanted), **row
    )
    counted, total, last, score, predicted = conn.execute(query).fetchall()[0]
    matching = [n.value, n.category, "other one"].count(n.value)
    assert (counted, total, last) == (matching, 15, "other one")
    assert score == pytest.approx(predicted)
    assert one(conn, "SELECT rescore.predict_key('m', 1)") == pytest.approx(score)
    shown = conn.execute("SELECT feature FROM rescore.explain('m', 1)").fetchall()
    assert (f"{n.last}={n.category}",) in shown
    payload = Jsonb({n.count: 3, n.last: n.category, n.plain: n.value})
    assert 0 < one(conn, "SELECT rescore.predict_payload('m', %s)", payload) < 1
    name = one(conn, "SELECT profile FROM rescore.profiles")
    assert ops.verify(conn, name) == []
    assert ops.rebuild(conn, name) == 0
    ops.sweep(conn, name, "1 hour")
    log(conn, n, name)
    assert one(conn, "SELECT count(*) FROM rescore.incident_log") == 0


def log(conn: Connection, n: Names, name: str) -> None:
    """Log, treat, resolve early, explain what was logged, pause, and forget, with these names."""
    ops.log(conn, name, None)
    insert(conn, n.visits_by, {n.treated: 1, n.kind: n.value}, n)
    conn.execute("UPDATE rescore.snapshot_rounds SET checked_at = NULL")
    conn.execute("SELECT rescore.resolve(%s)", [name])
    assert one(conn, "SELECT bool_and(treated_at IS NOT NULL) FROM rescore.snapshots") is True
    shown = conn.execute("SELECT feature FROM rescore.explain('m', 1, now())").fetchall()
    assert (f"{n.last}={n.category}",) in shown
    conn.execute("SELECT rescore.pause(%s, %s), rescore.resume(%s)", [name, n.value, name])
    ops.fold(conn, name, 10)
    assert ops.verify(conn, name) == []
    ops.forget(conn, name, "77")


def learn(conn: Connection, n: Names, folder: Path) -> None:
    """Train on a year of orders, publish what is learnt, and export what it was learnt from."""
    table = sql.Identifier(n.schema, n.orders)
    columns = [sql.Identifier(c) for c in (n.key, n.time, n.amount, n.kind)]
    conn.execute(
        sql.SQL(
            "INSERT INTO {} ({}) SELECT 100 + c, now() - interval '1 day' * (n * (3 + c)), n, {} "
            "FROM generate_series(1, 30) AS c CROSS JOIN generate_series(1, 12) AS n"
        ).format(table, sql.SQL(", ").join(columns), sql.Literal(n.value))
    )
    made = train(conn, "m", publish=True)
    assert made.version == 2
    file = folder / f"{n.score.replace('/', '_')}.csv"
    assert export(conn, "m", file) == made.examples
    with file.open(encoding="utf-8", newline="") as opened:
        header = next(csv.reader(opened))
    assert {n.key, n.total, f"{n.last}={n.category}", "label"} <= set(header)
    largest = ops.verify_model(conn, "m")
    assert largest is not None
    assert largest < 1e-9


def make_tables(conn: Connection, n: Names) -> None:
    conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(n.schema)))
    for name, columns in {
        n.profile: {n.key: "bigint PRIMARY KEY", n.plan: "text NOT NULL DEFAULT 'b'"},
        n.orders: {n.key: "bigint", n.time: "timestamptz DEFAULT now()", n.amount: "numeric", n.kind: "text"},
        n.sessions: {n.session: "bigint PRIMARY KEY", n.key: "bigint"},
        n.visits: {n.session: "bigint", n.time: "timestamptz DEFAULT now()"},
        n.visits_by: {n.treated: "bigint", n.time: "timestamptz DEFAULT now()", n.kind: "text"},
    }.items():  # fmt: skip
        made = [sql.SQL("{} " + type_).format(sql.Identifier(c)) for c, type_ in columns.items()]
        statement = sql.SQL("CREATE TABLE {} ({})").format(
            sql.Identifier(n.schema, name), sql.SQL(", ").join(made)
        )
        conn.execute(statement)


def insert(conn: Connection, table: str, row: dict[str, Any], n: Names) -> None:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(n.schema, table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(map(sql.Literal, row.values())),
    )
    conn.execute(statement)
