"""The contract: columns, freezing, what it refuses, design rows and probes."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.errors import BadFeature, ContractViolated
from rescore.plpython.contract import Contract, Input, check, freeze, from_names
from rescore.plpython.design import design_row
from rescore.plpython.probes import CLOCK, probes

JSON: dict[str, Any] = {
    "inputs": [
        {
            "name": "orders",
            "type": "bigint",
            "kind": "number",
            "nullable": False,
            "bounded": True,
            "default": 0,
            "missing": False,
        },
        {
            "name": "last_channel",
            "type": "text",
            "kind": "category",
            "categories": ["web", "store"],
            "other": True,
            "missing": False,
        },
        {
            "name": "days_since_order",
            "type": "timestamptz",
            "kind": "days_since",
            "default": 0,
            "missing": True,
        },
    ]
}
CONTRACT = Contract.from_json(JSON)
COLUMNS = [
    "orders",
    "last_channel=web",
    "last_channel=store",
    "last_channel=*",
    "days_since_order",
    "days_since_order__missing",
]
NOW = datetime(2025, 5, 1, 12, tzinfo=timezone.utc)


def one(**settings: Any) -> Contract:
    return Contract(
        (Input(**({"name": "x", "type": "double precision", "kind": "number"} | settings)),)
    )


def with_transforms(**settings: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "type": "bigint", "kind": "number"} | settings]}


def test_columns() -> None:
    assert CONTRACT.columns() == COLUMNS


def test_contract_survives_json() -> None:
    assert CONTRACT.to_json() == JSON
    assert Contract.from_json(json.loads(json.dumps(CONTRACT.to_json()))) == CONTRACT


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "not a contract"),
        ({"inputs": [{"name": "x"}]}, "not an input"),
        ({"inputs": [{"name": "x", "type": "int", "kind": "vector"}]}, "unknown kind 'vector'"),
        ({"inputs": [{"name": "x", "type": "int", "kind": "number", "oops": 1}]}, "not an input"),
        (with_transforms(clip=[5, 1]), "wrong clip: 1.0 does not exceed 5.0"),
        (with_transforms(clip=[None, None]), "wrong clip"),
        (with_transforms(clip=[1, 2, 3]), "wrong clip"),
        (with_transforms(clip=["a", 2]), "not an input"),
        (with_transforms(clip=None), "not an input"),
        (with_transforms(log1p=1), "log1p of 1, neither true nor false"),
        (with_transforms(buckets=[]), "needs 1 to 100 edges, not 0"),
        (with_transforms(buckets=list(range(101))), "not 101"),
        (with_transforms(buckets=[1, 1]), "1.0 does not exceed 1.0"),
        (with_transforms(buckets=[1e-200]), "1e-200 is neither 0"),
        (with_transforms(buckets=[10**400]), "not an input"),
        (with_transforms(buckets=[True]), "not an input"),
        (with_transforms(kind="category", log1p=True), "category and takes no log1p"),
        (with_transforms(kind="list", clip=[0, 1]), "list and takes no clip"),
    ],
)
def test_what_is_no_contract_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ContractViolated, match=message):
        Contract.from_json(data)


def test_two_columns_of_one_name_are_refused() -> None:
    twice = Contract(
        (Input("a=b", "int", "number"), Input("a", "text", "category", categories=("b",)))
    )
    with pytest.raises(ContractViolated, match="'a=b' twice"):
        twice.columns()


@pytest.mark.parametrize("form", [{"top": 2}, {"categories": {"top": 2}}])
def test_most_frequent_values_are_frozen(form: dict[str, Any]) -> None:
    country = Input.from_json(
        {"name": "country", "type": "text", "kind": "category", "other": True, **form}
    )
    with pytest.raises(ContractViolated, match="not frozen"):
        Contract((country,)).columns()
    frozen = freeze([country], {"country": ["DE", "FR", "IT"]})
    assert frozen.columns() == ["country=DE", "country=FR", "country=*"]
    assert from_names([country], frozen.columns()) == frozen
    with pytest.raises(ContractViolated, match="no categories were found for 'country'"):
        freeze([country], {})


LISTS = Contract.from_json(
    {
        "inputs": [
            {"name": "pages", "type": "text[]", "kind": "list", "categories": ["a", "b"],
             "other": True, "missing": True},
            {"name": "often", "type": "text[]", "kind": "list", "categories": ["a", "7", "true"],
             "count": True, "other": True},
        ]
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "row"),
    [
        (None, [0, 0, 0, 1, 0, 0, 0, 0]),
        ([], [0, 0, 0, 1, 0, 0, 0, 0]),
        (["a", "a", "b"], [1, 1, 0, 0, 2, 0, 0, 1]),
        (["x", 7, True, "y", 7], [0, 0, 1, 0, 0, 2, 1, 2]),
    ],
)
def test_lists_say_whether_and_how_often(given: Any, row: list[float]) -> None:
    assert design_row(LISTS, {"pages": given, "often": given}, NOW) == row
    assert Contract.from_json(json.loads(json.dumps(LISTS.to_json()))) == LISTS
    names = ["pages=a", "pages=b", "pages=*", "pages__missing"]
    assert LISTS.columns() == [*names, "often=a", "often=7", "often=true", "often=*"]


@pytest.mark.parametrize("given", ["a", 1, {"a": 1}, ["a", None], [["a"]], [{}]])
def test_what_is_no_list_of_texts_is_refused(given: Any) -> None:
    with pytest.raises(BadFeature, match="is no value of feature 'pages'"):
        design_row(LISTS, {"pages": given}, NOW)


def test_the_most_frequent_values_of_lists_are_frozen() -> None:
    pages = Input.from_json({"name": "pages", "type": "text[]", "kind": "list", "top": 2})
    frozen = freeze([pages], {"pages": ["help", "docs", "news"]})
    assert frozen.columns() == ["pages=help", "pages=docs"]
    assert from_names([pages], frozen.columns()) == frozen


def fitted(columns: int, names: list[str] | None = None) -> Any:
    rows = np.random.default_rng(0).normal(size=(20, columns))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, np.arange(20) % 2)
    if names is not None:
        model[0].feature_names_in_ = np.array(names, dtype=object)
    return model


def test_estimator_of_the_contract_is_accepted() -> None:
    check(fitted(6), CONTRACT)
    check(fitted(6, COLUMNS), CONTRACT)


def test_other_number_of_columns_is_refused() -> None:
    with pytest.raises(ContractViolated, match="takes 5 columns, the model has 6"):
        check(fitted(5), CONTRACT)


def test_other_names_are_refused_and_named() -> None:
    with pytest.raises(ContractViolated, match="lacks orders and has visits, which the model"):
        check(fitted(6, ["visits", *COLUMNS[1:]]), CONTRACT)
    with pytest.raises(ContractViolated, match="'last_channel=web' where the model has 'orders'"):
        check(fitted(6, [COLUMNS[1], COLUMNS[0], *COLUMNS[2:]]), CONTRACT)


def test_design_row() -> None:
    values = {"orders": 3, "last_channel": "store", "days_since_order": "2025-04-29T00:00:00Z"}
    assert design_row(CONTRACT, values, NOW) == [3.0, 0.0, 1.0, 0.0, 2.5, 0.0]


def test_design_row_of_nothing() -> None:
    assert design_row(CONTRACT, {}, NOW) == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [7.0, 1.0]),
        ("NaN", [7.0, 1.0]),
        ("-Infinity", [7.0, 1.0]),
        (1e300, [1e100, 0.0]),
        (-1e300, [-1e100, 0.0]),
        (1e-101, [0.0, 0.0]),
        (-2.5, [-2.5, 0.0]),
        (True, [1.0, 0.0]),
        (2**63 - 1, [float(2**63), 0.0]),
    ],
)
def test_numbers_are_cleaned(value: Any, expected: list[float]) -> None:
    assert design_row(one(default=7, missing=True), {"x": value}, NOW) == expected


def test_single_precision_is_rounded_as_the_type_rounds() -> None:
    assert design_row(one(type="real"), {"x": 0.1}, NOW) == [float(np.float32(0.1))]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("days_since", "2025-05-03T12:00:00+00:00", [0.0, 0.0]),
        ("days_since", "infinity", [5.0, 1.0]),
        ("days_until", "2025-05-03T12:00:00+00:00", [2.0, 0.0]),
        ("days_until", "2025-05-01T14:00:00+05:00", [-3 / 24, 0.0]),
        ("days_until", "2025-05-02", [0.5, 0.0]),
        ("days_until", None, [5.0, 1.0]),
    ],
)
def test_days(kind: Any, value: Any, expected: list[float]) -> None:
    contract = one(kind=kind, type="timestamptz", default=5, missing=True)
    assert design_row(contract, {"x": value}, NOW) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "expected"), [("a", [1, 0, 0]), ("z", [0, 1, 0]), (None, [0, 0, 1]), ("A", [0, 1, 0])]
)
def test_categories(value: Any, expected: list[float]) -> None:
    contract = one(kind="category", type="text", categories=("a",), other=True, missing=True)
    assert design_row(contract, {"x": value}, NOW) == expected


def test_boolean_and_integer_categories_are_compared_as_text() -> None:
    contract = one(kind="category", type="boolean", categories=("true", "3"))
    assert design_row(contract, {"x": True}, NOW) == [1.0, 0.0]
    assert design_row(contract, {"x": 3}, NOW) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("contract", "values", "message"),
    [
        (one(), {"y": 1}, "unknown feature 'y'"),
        (one(), {"x": "many"}, "'many' is no value of feature 'x'"),
        (one(), {"x": [1]}, "is no value of feature 'x'"),
        (one(kind="days_since"), {"x": "yesterday"}, "'yesterday' is no value"),
        (one(kind="days_since"), {"x": 17}, "17 is no value"),
    ],
)
def test_bad_values_are_refused(contract: Contract, values: Any, message: str) -> None:
    with pytest.raises(BadFeature, match=message):
        design_row(contract, values, NOW)


@pytest.mark.parametrize(
    ("settings", "values", "expected"),
    [
        ({"clip": (-1, 5)}, [-3, 7, 2, math.inf], [[-1], [5], [2], [0]]),
        ({"clip": (None, 5), "default": 9.0}, [None, -1e300], [[5], [-1e100]]),
        ({"log1p": True}, [math.e - 1, 1 - math.e, 0], [[1], [-1], [0]]),
        ({"clip": (1, None), "log1p": True}, [-4, 3], [[math.log(2)], [math.log(4)]]),
        ({"buckets": (1, 2)}, [0.5, 1, 2], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ({"buckets": (1,), "default": None, "missing": True}, [None, 3], [[0, 0, 1], [0, 1, 0]]),
        ({"buckets": (1,), "default": 5.0}, [None, "NaN"], [[0, 1], [0, 1]]),
        ({"buckets": (1, 2), "log1p": True}, [2, math.e], [[0, 1, 0], [0, 1, 0]]),
        ({"buckets": (1, 2), "clip": (1.5, 3)}, [-9, 9], [[0, 1, 0], [0, 0, 1]]),
    ],
)
def test_transforms_in_their_order(settings: Any, values: list[Any], expected: Any) -> None:
    rows = [design_row(one(**settings), {"x": value}, NOW) for value in values]
    assert rows == pytest.approx(np.array(expected), rel=1e-15)


def test_columns_and_json_of_buckets() -> None:
    contract = one(buckets=(-0.0, 10.0, 1e15, 1e20), default=None, missing=True, clip=(None, 7.0))
    names = ["x<0", "x[0,10)", "x[10,1e+15)", "x[1e+15,1e+20)", "x>=1e+20", "x__missing"]
    assert contract.columns() == names
    assert Contract.from_json(json.loads(json.dumps(contract.to_json()))) == contract
    given = {"name": "x", "type": "bigint", "kind": "number", "buckets": [1]}
    assert Input.from_json(given).default is None
    assert Input.from_json(given | {"default": 0}).default == 0


@given(st.floats(), st.integers(-(10**6), 10**6))
def test_design_rows_are_always_finite(number: float, seconds: int) -> None:
    contract = Contract((*one(missing=True).inputs, Input("d", "timestamptz", "days_until")))
    moment = NOW + timedelta(seconds=seconds)
    row = design_row(contract, {"x": number, "d": moment.isoformat()}, NOW)
    assert all(math.isfinite(value) and abs(value) <= 1e100 for value in row)
    assert row[2] == pytest.approx(seconds / 86400, abs=1e-12)


RICH = Contract(
    (
        *CONTRACT.inputs,
        Input("spend", "numeric", "number", missing=True),
        Input("price", "numeric(10,2)", "number", bounded=True),
        Input("ratio", "double precision", "number", default=1.5),
        Input("small", "real", "number"),
        Input("active", "boolean", "number", bounded=True),
        Input("renews", "date", "days_until"),
        Input("code", "varchar(2)", "category", categories=("DE", "FR"), missing=True),
        Input("level", "integer", "category", categories=("1", "2"), other=True),
    )
)


def test_probes_are_json_and_can_be_read() -> None:
    made = probes(RICH, 300, seed=1)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    rows = np.array([design_row(RICH, payload, CLOCK) for payload in made])
    assert rows.shape == (300, len(RICH.columns()))
    assert np.isfinite(rows).all()


def test_probes_reach_every_column_and_both_ends() -> None:
    rows = np.array([design_row(RICH, payload, CLOCK) for payload in probes(RICH, 300, seed=1)])
    columns = RICH.columns()
    varies = {name for name, column in zip(columns, rows.T, strict=True) if len(set(column)) > 1}
    assert varies == set(columns)
    assert rows[:, columns.index("ratio")].max() == 1e100
    assert rows[:, columns.index("spend")].min() == -1e100


def test_probes_repeat_by_seed_and_respect_types() -> None:
    assert probes(RICH, 50, seed=2) == probes(RICH, 50, seed=2)
    assert probes(RICH, 50, seed=2) != probes(RICH, 50, seed=3)
    for payload in probes(RICH, 300, seed=4):
        assert payload["orders"] is not None
        assert payload["price"] is None or abs(payload["price"]) < 10**8
        assert payload["code"] is None or len(payload["code"]) <= 2


STRADDLED = [
    {"buckets": tuple(float(i) for i in range(100)), "default": None},
    {"buckets": (-0.1, 0.1, 5.0), "type": "numeric(10,2)", "bounded": True, "default": None},
    {"buckets": (0.5, 2.0), "log1p": True, "type": "bigint", "bounded": True},
    {"buckets": (-2.0, 2.0, 229.0), "log1p": True, "type": "numeric"},
    {"buckets": (0.1, 3.0), "type": "real"},
    {"buckets": (-1.0, 0.0, 7.25), "kind": "days_until", "type": "timestamptz"},
    {"buckets": (0.1, 30.0), "kind": "days_since", "type": "timestamptz"},
]


@pytest.mark.parametrize("settings", STRADDLED)
def test_probes_stand_on_both_sides_of_every_edge(settings: Any) -> None:
    contract = one(**settings)
    rows = np.array([design_row(contract, each, CLOCK) for each in probes(contract, 200)])
    reached = {name for name, column in zip(contract.columns(), rows.T, strict=True) if any(column)}
    assert reached == set(contract.columns())


def test_probes_leave_out_edges_that_no_timestamp_reaches() -> None:
    contract = one(buckets=(1e7,), kind="days_until", type="timestamptz", default=None)
    rows = [design_row(contract, each, CLOCK) for each in probes(contract, 50)]
    assert [0, 1] not in rows and [1, 0] in rows


def test_probes_go_beyond_both_bounds() -> None:
    contract = one(clip=(-3.5, 1e6), type="integer")
    numbers = [each["x"] for each in probes(contract, 40) if each["x"] is not None]
    assert {-4, -3, 999_999, 1_000_000} <= set(numbers)
    assert min(numbers) < -3.5 and max(numbers) > 1e6


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_as_many_probes_as_asked(n: int) -> None:
    assert len(probes(RICH, n)) == n
