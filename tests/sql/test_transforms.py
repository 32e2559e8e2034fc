"""Clip, log1p and buckets: SQL, Python and scikit-learn see the same columns and scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.plpython.contract import Contract
from rescore.plpython.design import design_row
from rescore.plpython.linear import LinearForm, apply, fold
from rescore.plpython.probes import CLOCK, probes
from rescore.plpython.transforms import number_text

from .conftest import (
    Model,
    category,
    compile_,
    moment,
    number,
    over_probes,
    plan_of,
    random_weights,
    value,
)

Make = Callable[..., Model]
Connection = psycopg.Connection[Any]

ROW = "rescore_compiled.churn_v77_x({}, %(clock)s)"
SCORE = "rescore_compiled.churn_v77({}, %(clock)s)"

TRANSFORMED = [
    number("clipped", "bigint", nullable=False, bounded=True, clip=[0, 50]),
    number("logged", "numeric", default=3.5, log1p=True, missing=True),
    number("both", clip=[-10, None], log1p=True),
    number("negative", "real", clip=[None, -2], log1p=True, default=-7),
    number("age", "integer", bounded=True, buckets=[18, 30, 50], default=None, missing=True),
    number("orders", "bigint", nullable=False, bounded=True, buckets=[1, 10], default=None),
    number("price", "numeric(12,2)", bounded=True, buckets=[0.1, 9.99], default=5, clip=[0, 20]),
    number("ratio", buckets=[-1.5, 0, 1e15, 1e20], default=None, missing=True),
    number("wide", "numeric", buckets=[float(i) for i in range(-50, 50)], default=None),
    number("is_new", "boolean", bounded=True, buckets=[0.5], default=0, log1p=True),
    moment("since", buckets=[0.1, 0.333, 30], log1p=False, default=None, missing=True),
    moment("tenure", log1p=True, clip=[1, 365], default=9),
    moment("until", "days_until", log1p=True),
    moment("never", clip=[-3.5, -1], log1p=True, default=-2),
    moment("renews", "days_until", buckets=[-7, 0, 7.25], log1p=False, clip=[None, 7.25]),
]


def same_rows(conn: Connection, model: Model, payloads: list[dict[str, Any]]) -> list[list[float]]:
    """Return the design rows, once SQL's are found to be Python's: 1 and 0 exactly."""
    expected = [design_row(model.contract, each, CLOCK) for each in payloads]
    rows = np.array(over_probes(conn, model, ROW, payloads))
    np.testing.assert_allclose(rows, expected, rtol=1e-12, atol=1e-12)
    buckets = [any(c in name for c in "<>[") for name in model.contract.columns()]
    np.testing.assert_array_equal(rows[:, buckets], np.array(expected)[:, buckets])
    return expected


def test_design_row_and_names_are_the_reference(make: Make, conn: Connection) -> None:
    model = make(TRANSFORMED)
    compile_(conn, model, LinearForm(random_weights(model.contract), 0.5, "identity"))
    rows = np.array(same_rows(conn, model, probes(model.contract, 900, seed=11)))
    assert all(len(set(column)) > 1 for column in rows.T)
    names = conn.execute(
        "SELECT column_name FROM rescore._columns(%s) ORDER BY position",
        (Jsonb(model.contract.to_json()),),
    ).fetchall()
    assert [n for (n,) in names] == model.contract.columns()


@pytest.mark.parametrize("link", ["logistic", "clip", "identity"])
def test_score_is_the_reference(make: Make, conn: Connection, link: Any) -> None:
    model = make(TRANSFORMED)
    form = LinearForm([w * 0.1 for w in random_weights(model.contract)], -0.125, link)
    compile_(conn, model, form)
    payloads = probes(model.contract, 600, seed=12)
    expected = apply(form, [design_row(model.contract, each, CLOCK) for each in payloads])
    np.testing.assert_allclose(
        over_probes(conn, model, SCORE, payloads), expected, rtol=1e-12, atol=1e-12
    )


@given(st.lists(st.floats(-1e100, 1e100), min_size=20, max_size=20))
@settings(max_examples=20)
def test_edges_are_written_as_the_server_writes_them(conn: Connection, edges: list[float]) -> None:
    edges += [
        1e15,
        1e16,
        999999999999999.9,
        1e-5,
        1e-4,
        0.1,
        123456789012345.6,
        3e15,
        1e22,
        1e23,
        2.0**-24,
        2.0**56,
        -0.0,
    ]
    cleaned = [0.0 if abs(each) < 1e-100 else each for each in edges]
    query = (
        "SELECT array_agg(e::text ORDER BY n) FROM unnest(%s::float8[]) WITH ORDINALITY u (e, n)"
    )
    written = value(conn, query, ([each + 0.0 for each in cleaned],))
    assert [number_text(each) for each in cleaned] == written


@pytest.mark.parametrize("type_", ["double precision", "numeric"])
def test_an_edge_belongs_to_the_interval_above(make: Make, conn: Connection, type_: str) -> None:
    edges = [-1e15, -0.1, 0, 0.3, 1e22]
    model = make([number("x", type_, buckets=edges)])
    compile_(conn, model, LinearForm([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 0.0, "identity"))
    near = [-math.inf, math.inf]
    values = [v for e in edges if e for v in (math.nextafter(e, near[0]), e)] + [-1e-90, 0, 1e-90]
    scores = over_probes(conn, model, SCORE, [{"x": v} for v in values])
    assert scores == [0, 1, 1, 2, 3, 4, 4, 5, 2, 3, 3]
    same_rows(conn, model, [{"x": v} for v in values])


def test_a_missing_number_without_default_is_in_no_bucket(make: Make, conn: Connection) -> None:
    inputs = [
        number("a", "bigint", nullable=False, bounded=True, buckets=[10], default=None),
        number("b", buckets=[10], default=None, missing=True),
        number("c", buckets=[10], default=99),
        number("d", clip=[None, 5], log1p=True, default=99),
    ]
    model = make(inputs)
    model.publish([1, 2, 4, 8, 16, 32, 64, 0])
    row = value(conn, "SELECT rescore_compiled.churn_x(NULL, 'NaN', NULL, NULL, now())")
    assert row == [0, 0, 0, 0, 1, 0, 1, math.log(6)]
    payload = value(conn, "SELECT rescore.predict_payload('churn', '{}')")
    assert payload == pytest.approx(1 / (1 + math.exp(-(0.25 + 16 + 64))), abs=1e-12)
    some = value(conn, """SELECT rescore.predict_payload('churn', '{"a": 9, "b": 1e300}')""")
    assert some == pytest.approx(1 / (1 + math.exp(-(0.25 + 1 + 8 + 64))), abs=1e-12)


INLINED = [
    number("orders", "bigint", nullable=False, bounded=True, clip=[0, 50], log1p=True),
    number("spend", "numeric", log1p=True, default=2),
    moment("last_order", buckets=[7, 30, 90], default=None, missing=True),
]


@pytest.mark.parametrize(
    "arguments",
    ["p.orders, p.spend, p.last_order", "p.orders + 2, p.spend + 1, greatest(p.last_order, now())"],
)
def test_transforms_are_arithmetic_in_the_plan(
    make: Make, conn: Connection, arguments: str
) -> None:
    model = make(INLINED)
    model.publish(random_weights(model.contract))
    for function in ("churn", "churn_x", "churn_v1", "churn_v1_x"):
        plan = plan_of(conn, f"rescore_compiled.{function}({arguments}, now())")
        assert "churn" not in plan
        assert "ln(" in plan and "width_bucket(" in plan


ONCE: list[dict[str, Any]] = [
    {"clip": [0, 50]},
    {"clip": [None, 5]},
    {"clip": [0, None], "log1p": True},
    {"buckets": [1, 5, 10], "default": None},
    {"clip": [0, 5], "log1p": True, "buckets": [0.5, 1], "default": None},
]


def test_an_argument_that_stands_once_may_cost_anything(make: Make, conn: Connection) -> None:
    dear = "(SELECT count(*) FROM customer WHERE orders > p.orders)"
    for number_of, (transforms, nullable) in enumerate(product(ONCE, (False, True))):
        inputs = [number("x", "bigint", nullable=nullable, bounded=True, **transforms)]
        model = make(inputs, f"m{number_of}")
        compile_(conn, model, LinearForm(random_weights(model.contract), 0.0, "identity"))
        plan = plan_of(conn, f"rescore_compiled.m{number_of}_v77({dear}, now())")
        assert "rescore" not in plan
        assert plan.count("SubPlan 1)") == 1


NUMBERS = ["bigint", "integer", "numeric", "numeric(12,2)", "real", "double precision", "boolean"]
EDGES = st.sampled_from([0.1, 1e15, 1e16, -1e-5, 2.0, 100.0, 1e22, -3.5]) | st.floats(
    -1e4, 1e4
).map(lambda x: round(x, 3))


@st.composite
def contracts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One to four inputs with any transforms."""
    return [_input(draw, f"f{i}") for i in range(draw(st.integers(1, 4)))]


def _input(draw: st.DrawFn, name: str) -> dict[str, Any]:
    kind = draw(st.sampled_from(["number", "number", "days_since", "days_until"]))
    options: dict[str, Any] = {"log1p": draw(st.booleans()), "missing": draw(st.booleans())}
    options["default"] = draw(st.sampled_from([0, 2.5, -40, 1e100]))
    if draw(st.booleans()):
        low, high = sorted(draw(st.tuples(EDGES, EDGES).filter(lambda pair: pair[0] != pair[1])))
        options["clip"] = draw(st.sampled_from([[low, high], [low, None], [None, high]]))
    if draw(st.booleans()):
        options["buckets"] = sorted(draw(st.sets(EDGES, min_size=1, max_size=6)))
        options["default"] = draw(st.sampled_from([None, 0, 1e100, -3.5]))
    if kind != "number":
        return moment(name, kind, **options)
    type_ = draw(st.sampled_from(NUMBERS))
    exact = type_ in ("bigint", "integer", "boolean", "numeric(12,2)")
    return number(name, type_, bounded=exact, **options)


def pipeline(rows: np.ndarray, seed: int) -> Pipeline:
    """A scaled logistic model with scores well apart, fitted to the lesser of the numbers."""
    made = make_pipeline(StandardScaler(), LogisticRegression())
    made.fit(np.clip(rows, -1e3, 1e3), np.arange(len(rows)) % 2)
    made[-1].coef_ = np.random.default_rng(seed).normal(size=(1, rows.shape[1]))
    return made


@given(contracts(), st.integers(0, 10**6))
@settings(max_examples=40)
def test_sql_scores_are_those_of_the_scikit_learn_pipeline(
    conn: Connection, inputs: list[dict[str, Any]], seed: int
) -> None:
    with conn.transaction(force_rollback=True):
        model = Model(conn, "churn", Contract.from_json({"inputs": inputs}))
        payloads = probes(model.contract, 80, seed=seed)
        rows = np.array([design_row(model.contract, each, CLOCK) for each in payloads])
        estimator = pipeline(rows, seed)
        form = fold(estimator)
        assert form is not None
        compile_(conn, model, form)
        same_rows(conn, model, payloads)
        np.testing.assert_allclose(
            over_probes(conn, model, SCORE, payloads),
            estimator.predict_proba(rows)[:, 1],
            rtol=0,
            atol=1e-9,
        )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"clip": [5, 1]}, "wrong clip"),
    ({"clip": [1, 1]}, "wrong clip"),
    ({"clip": [None, None]}, "wrong clip"),
    ({"clip": [1]}, "wrong clip"),
    ({"clip": 5}, "wrong clip"),
    ({"clip": [0, 1e-200]}, "near to 0"),
    ({"log1p": "yes"}, "wrong key: log1p"),
    ({"buckets": []}, "wrong buckets"),
    ({"buckets": [1, 1]}, "wrong buckets"),
    ({"buckets": [2, 1]}, "wrong buckets"),
    ({"buckets": [1, None]}, "wrong buckets"),
    ({"buckets": "10"}, "wrong buckets"),
    ({"buckets": list(range(101))}, "wrong buckets"),
    ({"buckets": [1e-300]}, "near to 0"),
]


def test_wrong_transforms_are_refused(conn: Connection) -> None:
    for options, message in WRONG:
        contract = {"inputs": [number("x", **options)]}
        with pytest.raises(psycopg.Error, match=message) as caught:
            conn.execute("SELECT * FROM rescore._columns(%s)", (Jsonb(contract),))
        assert caught.value.sqlstate == "RS004"
        assert caught.value.diag.message_hint


def test_a_category_takes_no_transform(conn: Connection) -> None:
    contract = {"inputs": [category("c", ["x"], log1p=True)]}
    with pytest.raises(psycopg.Error, match="c is a category") as caught:
        conn.execute("SELECT * FROM rescore._columns(%s)", (Jsonb(contract),))
    assert caught.value.sqlstate == "RS004"
