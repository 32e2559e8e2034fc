"""Every object of rescore: its comment, and how its functions may be run."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rescore.sql.install import install

QUERIES = dict(
    part.split("\n", 1)
    for part in Path(__file__).with_name("objects.sql").read_text("utf-8").split("-- name: ")[1:]
)

SWEEP = "rescore.sweep(text,interval,integer,double precision,double precision,boolean)"
FOLD = "rescore.fold(text,integer)"
LOG = "rescore.log_snapshots(text,integer)"
APPEND = {
    f"rescore._append_row(internal,{kind},bytea)" for kind in ("record", "double precision[]")
}
JOINS = {"rescore._join_total", "rescore._join_mean", "rescore._join_deviation"}
BY_KEY = {
    f"rescore.predict_key(text,{k},jsonb,timestamp with time zone)"
    for k in ("text", "bigint", "uuid")
}


def catalogue(conn: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return conn.execute(QUERIES["catalogue"].encode()).fetchall()


def functions(conn: psycopg.Connection[Any]) -> list[Any]:
    with conn.cursor(row_factory=psycopg.rows.namedtuple_row) as cursor:
        return cursor.execute(QUERIES["functions"].encode()).fetchall()


def computed() -> set[str]:
    """The operations of computed features, which are inlined."""
    text = files("rescore.sql").joinpath("019_computed.sql").read_text("utf-8")
    found = re.findall(r"COMMENT ON FUNCTION (\S+\([^)]*\)) IS", text)
    return {signature.replace(", ", ",") for signature in found}


def test_every_object_says_what_it_is(model: Any) -> None:
    model.publish([0.1, 0.2, 0.3, 0.4, 0.5])
    assert model.conn.execute(QUERIES["without_comment"].encode()).fetchall() == []


@pytest.mark.parametrize("fixture", ["db", "plain_db"])
def test_search_path_is_pinned_unless_inlined(fixture: str, request: pytest.FixtureRequest) -> None:
    conn = request.getfixturevalue(fixture)
    found = functions(conn)
    # What is inlined has its names bound when it is created.
    bound = {f.signature for f in found if not f.pinned and f.body.startswith("RETURN ")}
    assert computed() < bound
    # A procedure that commits cannot have a SET clause, an aggregate none at all, and what each event,
    # look at a key or example calls would take longer with one: they qualify every name.
    others = {f.signature for f in found if not f.pinned and f.kind != "a"} - bound
    named = {SWEEP, FOLD, LOG} | ((BY_KEY | APPEND) & others)
    assert {f for f in others if f.split("(")[0] not in JOINS} == named
    assert {f.split("(")[0] for f in others - named} == JOINS
    assert len(found) > 50


def test_unpinned_functions_are_bound_or_qualified(model: Any) -> None:
    model.publish([0.1, 0.2, 0.3, 0.4, 0.5])
    compiled = [f for f in functions(model.conn) if f.signature.startswith("rescore_compiled.")]
    assert compiled
    for each in compiled:
        assert each.pinned or each.body.startswith("RETURN "), each.signature


def test_versions_are_immutable_and_routers_stable(model: Any) -> None:
    model.publish([0.1, 0.2, 0.3, 0.4, 0.5])
    found = {f.signature.split("(")[0]: f for f in functions(model.conn)}
    assert found["rescore_compiled.churn_v1"].volatility == "i"
    assert found["rescore_compiled.churn_v1_x"].volatility == "i"
    routers = ("churn", "churn_x", "churn_version", "churn_deferred", "churn_payload")
    for name in routers:
        router = found[f"rescore_compiled.{name}"]
        assert (router.volatility, router.parallel) == ("s", "s"), name


@pytest.mark.parametrize("fixture", ["db", "plain_db"])
def test_nothing_is_for_everybody(fixture: str, request: pytest.FixtureRequest) -> None:
    assert [f.signature for f in functions(request.getfixturevalue(fixture)) if f.for_all] == []


def test_installing_twice_changes_nothing(dsn: str, db: psycopg.Connection[Any]) -> None:
    before = catalogue(db)
    db.commit()
    report = install(dsn)
    assert (report.before, report.missing) == (report.after, [])
    assert catalogue(db) == before
    assert len(before) > 150
