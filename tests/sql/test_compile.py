"""Compiled versions: equal to the reference in plain Python, total, and inlined."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb

from rescore.plpython.contract import Contract
from rescore.plpython.design import design_row
from rescore.plpython.linear import LinearForm, apply
from rescore.plpython.probes import CLOCK, probes

from .conftest import (
    EVERY_KIND,
    SIMPLE,
    category,
    compile_,
    moment,
    number,
    over_probes,
    plan_of,
    random_weights,
    value,
)

Make = Callable[..., Any]
Connection = psycopg.Connection[Any]


def test_design_row_is_the_reference(make: Make, conn: Connection) -> None:
    model = make(EVERY_KIND)
    version = model.publish(random_weights(model.contract))
    payloads = probes(model.contract, 600, seed=11)
    rows = over_probes(
        conn, model, f"rescore_compiled.churn_v{version}_x({{}}, %(clock)s)", payloads
    )
    expected = [design_row(model.contract, each, CLOCK) for each in payloads]
    np.testing.assert_allclose(rows, expected, rtol=1e-14, atol=1e-14)
    names = conn.execute(
        "SELECT column_name FROM rescore._columns(%s) ORDER BY position",
        (Jsonb(model.contract.to_json()),),
    ).fetchall()
    assert [n for (n,) in names] == model.contract.columns()


@pytest.mark.parametrize("link", ["logistic", "clip", "identity"])
def test_score_is_the_reference(make: Make, conn: Connection, link: Any) -> None:
    model = make(EVERY_KIND)
    form = LinearForm([w * 1e-2 for w in random_weights(model.contract)], -0.125, link)
    compile_(conn, model, form)
    payloads = probes(model.contract, 600, seed=12)
    scores = over_probes(conn, model, "rescore_compiled.churn_v77({}, %(clock)s)", payloads)
    expected = apply(form, [design_row(model.contract, each, CLOCK) for each in payloads])
    np.testing.assert_allclose(scores, expected, rtol=1e-12, atol=1e-12)
    assert len(set(scores)) > 100 or link == "clip"


AWKWARD = [
    0.1,
    -1 / 3,
    1e100,
    -1e100,
    1.0000000000000002e-100,
    5e-101,
    2**53 + 2.0,
    123456789.12345678,
]


def test_weights_are_the_same_bits(make: Make, conn: Connection) -> None:
    model = make(
        [number(f"f{i}", "integer", nullable=False, bounded=True) for i in range(len(AWKWARD))]
    )
    compile_(conn, model, LinearForm(AWKWARD, 0.0, "identity"))
    for place, weight in enumerate(AWKWARD):
        payload = {f"f{i}": int(i == place) for i in range(len(AWKWARD))}
        found = over_probes(conn, model, "rescore_compiled.churn_v77({}, %(clock)s)", [payload])[0]
        expected = weight if abs(weight) >= 1e-100 else 0.0
        assert struct.pack("d", found) == struct.pack("d", expected)


@pytest.mark.parametrize("weight", [1e100, -1e100, 1e-100, -1e-100, 1e-300, 1.0])
def test_scorers_are_total(make: Make, conn: Connection, weight: float) -> None:
    model = make([number("f"), number("n", "numeric"), number("r", "real"), number("g")])
    compile_(conn, model, LinearForm([weight, weight, weight, -weight], weight, "logistic"))
    extremes = [
        "NaN",
        "Infinity",
        "-Infinity",
        1.7e308,
        -1.7e308,
        5e-324,
        -5e-324,
        1e-100,
        1e100,
        0,
        None,
    ]
    payloads = [{"f": a, "g": b, "r": "NaN", "n": 1} for a in extremes for b in extremes]
    scores = over_probes(conn, model, "rescore_compiled.churn_v77({}, %(clock)s)", payloads)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("n", ["NaN", "Infinity", "-Infinity", "1e4000", "-1e-4000", "9e100"])
def test_numerics_beyond_float8_are_total(make: Make, conn: Connection, n: str) -> None:
    model = make([number("n", "numeric", default=2)])
    compile_(conn, model, LinearForm([1.0], 0.0, "identity"))
    expected = {"1e4000": 1e100, "-1e-4000": 0.0, "9e100": 9e100}.get(n, 2.0)
    expected = min(expected, 1e100)
    query = "SELECT rescore_compiled.churn_v77(%s::numeric, now())"
    assert value(conn, query, (n,)) == expected


@pytest.mark.parametrize("moment", ["infinity", "-infinity", None])
def test_moments_without_end_are_missing(make: Make, conn: Connection, moment: str | None) -> None:
    model = make(SIMPLE[3:] and [dict(SIMPLE[3], default=9)])
    compile_(conn, model, LinearForm([1.0], 0.0, "identity"))
    query = "SELECT rescore_compiled.churn_v77(%s::timestamptz, %s::timestamptz)"
    assert value(conn, query, (moment, "2026-01-01")) == 9
    assert value(conn, query, ("2025-12-31", "infinity")) == 9
    assert value(conn, query, ("2026-01-02 00:00+00", "2026-01-01 00:00+00")) == 0


COLUMNS = "p.orders, p.spend, p.channel, p.last_order"
EXPRESSIONS = (
    "p.orders + 2, p.spend + 1.5, coalesce(p.channel, 'web'), greatest(p.last_order, now())"
)


@pytest.mark.parametrize("arguments", [COLUMNS, EXPRESSIONS])
@pytest.mark.parametrize("function", ["churn", "churn_x", "churn_v1", "churn_deferred"])
def test_scores_are_arithmetic_in_the_plan(model: Any, function: str, arguments: str) -> None:
    model.publish([0.1, 0.2, 0.3, 0.4, 0.5])
    given = "" if function == "churn_deferred" else arguments + ", now()"
    plan = plan_of(model.conn, f"rescore_compiled.{function}({given})")
    assert "churn" not in plan


def test_bounded_numbers_cost_one_multiplication(make: Make, conn: Connection) -> None:
    model = make([number("orders", "bigint", nullable=False, bounded=True)])
    compile_(conn, model, LinearForm([2.5], 0.0, "identity"))
    plan = plan_of(conn, "rescore_compiled.churn_v77(p.orders, now())")
    assert "('2.5'::double precision * (orders)::double precision)" in plan


def test_what_rescore_keeps_is_not_checked(make: Make, conn: Connection) -> None:
    kept = [
        number("spend", "numeric", nullable=False, bounded=True),
        moment("last_order", bounded=True),
    ]
    compile_(conn, make(kept), LinearForm([2.5, 86400.0], 0.0, "identity"))
    plan = plan_of(conn, "rescore_compiled.churn_v77(p.spend, p.last_order, now())")
    assert "NaN" not in plan and "isfinite" not in plan and "CASE" not in plan
    # The 86,400 seconds of a day are in the weight.
    assert "'1'::double precision * float8larger(tstzrange_subdiff(now(), last_order)" in plan


@pytest.mark.parametrize("count", [2, 16, 17, 180])
def test_categories_of_any_number(make: Make, conn: Connection, count: int) -> None:
    values = [f"v{i}" for i in range(count)]
    model = make([category("c", values, other=True, missing=True)])
    weights = [float(i + 1) for i in range(count + 2)]
    compile_(conn, model, LinearForm(weights, 0.0, "identity"))
    query = "SELECT rescore_compiled.churn_v77(%s::text, now())"
    assert [value(conn, query, (v,)) for v in values] == weights[:count]
    assert value(conn, query, ("strange",)) == weights[-2]
    assert value(conn, query, (None,)) == weights[-1]


def test_one_category_costs_no_long_case(make: Make, conn: Connection) -> None:
    model = make([category("c", [f"v{i}" for i in range(180)])])
    compile_(conn, model, LinearForm([1.0] * 180, 0.0, "identity"))
    assert "CASE" not in plan_of(conn, "rescore_compiled.churn_v77(p.channel, now())")


WIDE = [number(f"f{i}", default=i, missing=i % 7 == 0) for i in range(200)]


def test_two_hundred_inputs(make: Make, conn: Connection) -> None:
    model = make(WIDE)
    weights = random_weights(model.contract)
    model.publish(weights)
    payloads = probes(model.contract, 60, seed=5)
    call = value(
        conn,
        "SELECT rescore._score_call('churn', %s, %s)",
        ([f'r."f{i}"' for i in range(200)], "%(clock)s"),
    )
    rows = [design_row(model.contract, each, CLOCK) for each in payloads]
    proof = apply(LinearForm(weights, 0.25, "logistic"), rows)
    found = over_probes(conn, model, call, payloads)
    np.testing.assert_allclose(found, proof, atol=1e-9)
    one = value(conn, "SELECT rescore_compiled.churn_payload(%s, %s)", (Jsonb(payloads[3]), CLOCK))
    assert one == pytest.approx(proof[3], abs=1e-9)


def test_split_version_of_fewer_inputs_than_its_router(make: Make, conn: Connection) -> None:
    model = make(WIDE)
    some = Contract.from_json({"inputs": [WIDE[i] for i in range(0, 200, 2)]})
    weights = random_weights(some)
    payload = {"f4": 3.5, "f150": -2.0}
    expected = apply(LinearForm(weights, 0.25, "logistic"), [design_row(some, payload, CLOCK)])
    type(model)(conn, "churn", some).publish(weights)
    found = value(conn, "SELECT rescore.predict_payload('churn', %s)", (json.dumps(payload),))
    assert found == pytest.approx(expected[0], abs=1e-9)


WRONG_CONTRACTS = [
    ({}, "not a contract"),
    ({"inputs": [{"name": "", "type": "bigint", "kind": "number"}]}, "no name"),
    ({"inputs": [{"name": "a", "type": "bigint", "kind": "numbr"}]}, "unknown kind"),
    ({"inputs": [{"name": "a", "type": "jsonb", "kind": "number"}]}, "does not fit"),
    ({"inputs": [{"name": "a", "type": "no_type", "kind": "number"}]}, "does not fit"),
    ({"inputs": [{"name": "a", "type": "bigint", "kind": "number", "defualt": 1}]}, "wrong key"),
    (
        {"inputs": [{"name": "a", "type": "bigint", "kind": "number", "missing": "yes"}]},
        "wrong key",
    ),
    ({"inputs": [{"name": "a", "type": "text", "kind": "category", "top": 3}]}, "not frozen"),
    ({"inputs": [category("a", ["x", "x"])]}, "twice"),
    ({"inputs": [number("a"), number("a")]}, "twice"),
    ({"inputs": ["a"]}, "no name"),
]


@pytest.mark.parametrize(("contract", "message"), WRONG_CONTRACTS)
def test_wrong_contracts_are_refused(conn: Connection, contract: Any, message: str) -> None:
    with pytest.raises(psycopg.Error, match=message) as caught:
        conn.execute("SELECT * FROM rescore._columns(%s)", (Jsonb(contract),))
    assert caught.value.sqlstate == "RS004"
    assert caught.value.diag.message_hint
