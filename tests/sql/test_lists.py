"""Lists of categories: SQL, Python and scikit-learn see the same columns and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.plpython.contract import Contract
from rescore.plpython.design import design_row
from rescore.plpython.linear import LinearForm, apply, fold
from rescore.plpython.probes import CLOCK, probes

from .conftest import Model, compile_, number, over_probes, plan_of, random_weights, value

Make = Callable[..., Model]
Connection = psycopg.Connection[Any]

ROW = "rescore_compiled.churn_v77_x({}, %(clock)s)"
SCORE = "rescore_compiled.churn_v77({}, %(clock)s)"
MANY = [f"c{i:02}" for i in range(40)]


def listed(name: str, values: list[str], **options: Any) -> dict[str, Any]:
    """An input of kind list."""
    given = {"nullable": True, "other": False, "missing": False, "count": False} | options
    return {"name": name, "type": "text[]", "kind": "list", "categories": values} | given


EVERY_LIST = [
    listed("pages", ["web", "it's", '"', "☂", ""]),
    listed("pages, all", ["web", "%s", "{a,b}"], other=True, missing=True),
    listed("often", ["web", "store"], count=True, missing=True),
    listed("often, all", ["web", "store", "NULL"], count=True, other=True),
    listed("many", MANY, missing=True),
    listed("many, all", MANY, other=True),
    listed("many counted", MANY, count=True, other=True, missing=True),
    listed("none named", [], other=True),
    number("orders", "bigint", nullable=False, bounded=True),
]


def test_design_row_and_names_are_the_reference(make: Make, conn: Connection) -> None:
    model = make(EVERY_LIST)
    compile_(conn, model, LinearForm(random_weights(model.contract), 0.5, "identity"))
    payloads = probes(model.contract, 900, seed=5)
    expected = [design_row(model.contract, each, CLOCK) for each in payloads]
    assert over_probes(conn, model, ROW, payloads) == expected
    assert all(len(set(column)) > 1 for column in zip(*expected, strict=True))
    query = "SELECT array_agg(column_name ORDER BY position) FROM rescore._columns(%s)"
    names = value(conn, query, (Jsonb(model.contract.to_json()),))
    assert names == model.contract.columns()


@pytest.mark.parametrize("link", ["logistic", "clip", "identity"])
def test_score_is_the_reference(make: Make, conn: Connection, link: Any) -> None:
    model = make(EVERY_LIST)
    form = LinearForm([w * 0.01 for w in random_weights(model.contract)], -0.125, link)
    compile_(conn, model, form)
    payloads = probes(model.contract, 600, seed=6)
    expected = apply(form, [design_row(model.contract, each, CLOCK) for each in payloads])
    found = over_probes(conn, model, SCORE, payloads)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_what_one_and_several_columns_say(make: Make, conn: Connection) -> None:
    options: list[dict[str, Any]] = [{}, {"count": True}, {"other": True}]
    options += [{"count": True, "other": True, "missing": True}]
    model = make([listed(f"l{n}", ["a", "b"], **given) for n, given in enumerate(options)])
    compile_(conn, model, LinearForm(random_weights(model.contract), 0.0, "identity"))
    rows = over_probes(
        conn,
        model,
        ROW,
        [
            {f"l{n}": given for n in range(4)}
            for given in (["a", "x", "a"], ["b", "x", "y"], [], None)
        ],
    )
    assert rows == [
        [1, 0, 2, 0, 1, 0, 1, 2, 0, 1, 0],
        [0, 1, 0, 1, 0, 1, 1, 0, 1, 2, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    ]


categories = st.lists(st.text("ab,{}\"'%\\ é", max_size=3), unique=True, max_size=20)


@st.composite
def inputs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One to three lists of any categories."""
    flags = st.fixed_dictionaries(dict.fromkeys(("other", "count", "missing"), st.booleans()))
    wanted = range(draw(st.integers(1, 3)))
    made = [listed(f"f{i}", draw(categories), **draw(flags)) for i in wanted]
    return [number("orders", "bigint", nullable=False, bounded=True), *made]


@given(inputs(), st.integers(0, 10**6))
@settings(max_examples=25)
def test_sql_scores_are_those_of_the_scikit_learn_pipeline(
    conn: Connection, inputs: list[dict[str, Any]], seed: int
) -> None:
    with conn.transaction(force_rollback=True):
        model = Model(conn, "churn", Contract.from_json({"inputs": inputs}))
        payloads = probes(model.contract, 60, seed=seed)
        rows = np.array([design_row(model.contract, each, CLOCK) for each in payloads])
        made = make_pipeline(StandardScaler(), LogisticRegression())
        made.fit(np.clip(rows, -1e3, 1e3), np.arange(len(rows)) % 2)
        made[-1].coef_ = np.random.default_rng(seed).normal(size=(1, rows.shape[1]))
        form = fold(made)
        assert form is not None
        compile_(conn, model, form)
        assert over_probes(conn, model, ROW, payloads) == rows.tolist()
        scores = over_probes(conn, model, SCORE, payloads)
        np.testing.assert_allclose(scores, made.predict_proba(rows)[:, 1], rtol=0, atol=1e-9)


INLINED = [
    listed("few", ["web", "store", "phone"], other=True, missing=True),
    listed("often", ["web", "store"], count=True),
    listed("many", MANY, count=True, other=True, missing=True),
]
STORED = "string_to_array(p.channel, ',')"
PREPENDED = (
    f"CASE WHEN p.channel IS NULL THEN {STORED} ELSE (ARRAY[p.channel] || {STORED})[1:5] END"
)


@pytest.mark.parametrize("given", [STORED, PREPENDED])
def test_lists_are_compared_in_the_plan(make: Make, conn: Connection, given: str) -> None:
    model = make(INLINED)
    model.publish(random_weights(model.contract))
    for function in ("churn", "churn_x", "churn_v1", "churn_v1_x"):
        plan = plan_of(conn, f"rescore_compiled.{function}({given}, {given}, {given}, now())")
        assert "rescore_compiled" not in plan
        assert "= ANY (" in plan and "array_positions(" in plan


def test_many_categories_take_the_argument_once(make: Make, conn: Connection) -> None:
    dear = "(SELECT array_agg(c.channel) FROM customer AS c WHERE c.orders > p.orders)"
    model = make([listed("many", MANY, other=True)])
    compile_(conn, model, LinearForm(random_weights(model.contract), 0.0, "identity"))
    plan = plan_of(conn, f"rescore_compiled.churn_v77({dear}, now())")
    assert plan.count("SubPlan 1)") == 1
    assert "rescore_compiled" not in plan


def test_payload_takes_an_array_of_texts(make: Make, conn: Connection) -> None:
    model = make([listed("pages", ["web", "7", "true"], count=True)])
    model.publish([1.0, 2.0, 4.0])
    query = "SELECT rescore.predict_payload('churn', %s)"

    def logit(given: Any) -> float:
        score = value(conn, query, (Jsonb({"pages": given}),))
        return float(np.log(score / (1 - score))) - 0.25

    assert logit(["web", 7, True, "x", "web"]) == pytest.approx(8)
    assert logit(None) == logit([]) == pytest.approx(0)
    for wrong in ("web", 7, {"web": 1}, ["web", None], [["web"]], [{"a": 1}], True):
        with pytest.raises(psycopg.Error, match="is no value of feature pages") as caught:
            value(conn, query, (Jsonb({"pages": wrong}),))
        assert caught.value.sqlstate == "RS009"


WRONG = [
    ({"type": "text"}, "type text does not fit an input of kind list"),
    ({"type": "integer[]"}, "does not fit an input of kind list"),
    ({"count": "yes"}, "wrong key: count"),
    ({"categories": None, "top": 3}, "not frozen"),
    ({"categories": ["a", "a"]}, "hold a value twice"),
    ({"categories": ["a", None]}, "one that is no text"),
    ({"log1p": True}, "is a list and takes no transform"),
    ({"buckets": [1]}, "is a list and takes no transform"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_lists_are_refused(conn: Connection, options: Any, message: str) -> None:
    given = listed("pages", ["a"], **options)
    contract = {"inputs": [{k: v for k, v in given.items() if v is not None}]}
    with pytest.raises(psycopg.Error, match=message) as caught:
        conn.execute("SELECT * FROM rescore._columns(%s)", (Jsonb(contract),))
    assert caught.value.sqlstate == "RS004"
    assert caught.value.diag.message_hint
