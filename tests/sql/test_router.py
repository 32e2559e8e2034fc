"""Routers: they follow the definition's inputs, under any name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from .conftest import SIMPLE, Model, category, number, value

Make = Callable[..., Any]
Connection = psycopg.Connection[Any]
WEIGHTS = [0.1, 0.2, 0.3, 0.4, 0.5]


def score(model: Model) -> Any:
    return value(model.conn, "SELECT rescore.predict_payload('churn', '{\"orders\": 3}')")


def test_routers_follow_the_inputs(make: Make, conn: Connection) -> None:
    model = make(SIMPLE)
    model.publish(WEIGHTS)
    before = score(model)
    wider = [number("extra"), *reversed(SIMPLE), number("zone", "integer", bounded=True)]
    make(wider)
    assert score(model) == before
    names = value(
        conn, "SELECT proargnames FROM pg_proc WHERE oid = to_regproc('rescore_compiled.churn')"
    )
    assert names == [i["name"] for i in wider] + ["rescore_clock"]
    with pytest.raises(psycopg.Error, match="no input") as caught:
        make(SIMPLE[1:])
    assert caught.value.sqlstate == "RS004"


def test_models_whose_functions_would_meet_are_refused(make: Make) -> None:
    make(SIMPLE)
    for name in ("churn_x", "churn_v1", "churn_payload"):
        with pytest.raises(psycopg.Error, match="too alike") as caught:
            make(SIMPLE, name)
        assert caught.value.sqlstate == "RS014"


@pytest.mark.parametrize("name", ["we\"ird 'n%s", "ÄÖÜ", "select", "a" * 40])
def test_names_of_any_kind(make: Make, conn: Connection, name: str) -> None:
    odd = [number('a"b', "integer"), number("it's %s", "integer"), category("select", ["a'b", "%"])]
    model = make(odd, name)
    model.publish([1.0, 2.0, 3.0, 4.0])
    assert value(conn, "SELECT rescore.predict_payload(%s, %s)", (name, Jsonb({'a"b': 1})))
