"""Examples against a recount in plain Python; nothing from after the moment may leak in."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from rescore.compiler.apply import apply
from rescore.compiler.definition import load
from rescore.errors import NotEnoughData, UnknownModel
from rescore.trainer import examples as ex
from rescore.trainer.database import Connection
from rescore.trainer.report import summary
from rescore.trainer.split import Moment
from rescore.trainer.train import train

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
MOMENT = Moment(START + timedelta(days=300), START + timedelta(days=360))

Order = tuple[int, datetime, float, str]


def read(conn: Connection, model: str, moment: Moment = MOMENT) -> tuple[list[str], ex.Examples]:
    source = ex.read_source(conn, model)
    contract = ex.frozen_contract(conn, source, [moment])
    names, columns = zip(*ex.design_columns(conn, contract), strict=True)
    return list(names), ex.read_examples(conn, source, columns, moment)


def recount(orders: list[Order], moment: datetime) -> np.ndarray:
    """Orders, spend, web, shop, other, days since, missing: one row per customer known by then."""
    rows = []
    for customer in sorted({o[0] for o in orders}):
        own = sorted((o for o in orders if o[0] == customer and o[1] <= moment), key=lambda o: o[1])
        if own:
            last = own[-1]
            channel = [last[3] == "web", last[3] == "shop", last[3] in ("phone", "fax")]
            since = (moment - last[1]).total_seconds() / 86400
            rows.append([len(own), sum(o[2] for o in own), *channel, since, 0])
    return np.array(rows, dtype=float)


def test_design_rows_and_labels_are_those_of_a_recount(
    shop: Connection, orders: list[Order]
) -> None:
    names, found = read(shop, "churn")
    assert names == [
        "orders", "spend", "last_channel=web", "last_channel=shop", "last_channel=*",
        "days_since_order", "days_since_order__missing",
    ]  # fmt: skip
    assert np.allclose(found.design, recount(orders, MOMENT.at), rtol=0, atol=1e-9)
    known = sorted({o[0] for o in orders if o[1] <= MOMENT.at})
    buys = {o[0] for o in orders if MOMENT.at < o[1] <= MOMENT.settled}
    assert found.labels.tolist() == [int(customer not in buys) for customer in known]
    assert 0 < found.labels.mean() < 1


def test_any_with_where_and_after(shop: Connection, orders: list[Order]) -> None:
    _, found = read(shop, "back")
    known = sorted({o[0] for o in orders if o[1] <= MOMENT.at})
    begins = MOMENT.at + timedelta(days=10)
    web = {o[0] for o in orders if begins < o[1] <= MOMENT.settled and o[3] == "web"}
    assert found.labels.tolist() == [int(customer in web) for customer in known]


def test_transformed_columns_are_those_of_a_recount(
    shop: Connection, orders: list[Order], definition: Path
) -> None:
    text = definition.read_text().replace("count: true", "count: true, bucketize: [5, 20]")
    text = text.replace("sum: amount", "sum: amount, clip: [null, 500], log1p: true")
    definition.write_text(text.replace("days_since: last", "days_since: last, bucketize: [10, 60]"))
    apply(shop, load(definition))
    names, found = read(shop, "churn")
    since = ["days_since_order<10", "days_since_order[10,60)", "days_since_order>=60"]
    assert names[:4] == ["orders<5", "orders[5,20)", "orders>=20", "spend"]
    assert names[-4:] == [*since, "days_since_order__missing"]
    plain = recount(orders, MOMENT.at)
    for place, edges in ((0, (5, 20)), (5, (10, 60))):
        bucket = np.searchsorted(edges, plain[:, place], side="right")
        start = names.index("orders<5" if place == 0 else since[0])
        assert np.array_equal(found.design[:, start : start + 3], np.eye(3)[bucket])
    assert np.allclose(found.design[:, 3], np.log1p(np.minimum(plain[:, 1], 500)), atol=1e-12)


def test_no_later_event_leaks_into_features(shop: Connection) -> None:
    _, before = read(shop, "churn")
    shop.execute("DELETE FROM orders WHERE ordered_at > %s", (MOMENT.at,))
    shop.execute(
        "INSERT INTO orders SELECT customer_id, %s, 1e6, 'fax' FROM customers",
        (MOMENT.at + timedelta(microseconds=1),),
    )
    _, after = read(shop, "churn")
    assert np.array_equal(before.design, after.design)
    assert not after.labels.any()


def test_the_edges_of_the_horizon(shop: Connection) -> None:
    """An event at the moment is past, one at the very end of the horizon is future."""
    shop.execute("TRUNCATE orders")
    for customer, at in enumerate([MOMENT.settled, MOMENT.settled + timedelta(microseconds=1)]):
        for when in (MOMENT.at, at):
            shop.execute("INSERT INTO orders VALUES (%s, %s, 5, 'web')", (customer, when))
    _, found = read(shop, "churn")
    assert found.design[:, 0].tolist() == [1, 1]
    assert found.labels.tolist() == [0, 1]


def test_features_with_unknown_past_are_named_and_left_out(shop: Connection) -> None:
    source = ex.read_source(shop, "back")
    assert source.left_out == ("age",)
    assert "age" not in read(shop, "back")[0]


def test_that_nobody_knows_who_was_scored_is_said_apart_from_features(
    shop: Connection, definition: Path
) -> None:
    limited = definition.read_text().replace(
        "  clock: session", "  clock: session\n  only: age > 30"
    )
    definition.write_text(limited)
    apply(shop, load(definition))
    source = ex.read_source(shop, "back")
    assert (source.left_out, source.everybody) == (("age",), True)
    said = summary(train(shop, "back", until=START + timedelta(days=540), passes=1))
    assert "left out, their past is unknown: age" in said
    assert "learnt from all rows: which of them were scored then, `only` cannot tell" in said


def test_regular_moments_end_with_the_last_whose_outcome_is_known(shop: Connection) -> None:
    label = ex.read_source(shop, "churn").label
    assert label is not None
    until = datetime(2025, 3, 31, tzinfo=timezone.utc)
    found = ex.regular_moments(shop, label, step="1 month", until=until, most=3)
    assert [m.at.date().isoformat() for m in found] == ["2024-10-31", "2024-11-30", "2024-12-31"]
    assert all(m.settled <= until for m in found)


def test_named_moments_without_a_known_outcome_are_dropped(shop: Connection) -> None:
    label = ex.read_source(shop, "churn").label
    assert label is not None
    named = [MOMENT.at, MOMENT.at, MOMENT.at + timedelta(seconds=1)]
    assert ex.named_moments(shop, label, named, MOMENT.settled) == [MOMENT]


def test_a_moment_before_everything_has_no_examples(shop: Connection) -> None:
    early = Moment(START - timedelta(days=90), START)
    source = ex.read_source(shop, "churn")
    contract = ex.frozen_contract(shop, source, [MOMENT])
    columns = [expression for _, expression in ex.design_columns(shop, contract)]
    assert ex.read_examples(shop, source, columns, early).design.shape == (0, len(columns))


def test_unknown_model_is_named(shop: Connection) -> None:
    with pytest.raises(UnknownModel, match='"chrun"'):
        ex.read_source(shop, "chrun")


def test_incomplete_answers_are_refused() -> None:
    with pytest.raises(NotEnoughData, match="not complete"):
        ex._count(b"PGCOPY\n\xff\r\n\x00" + bytes(8 + 2 + 7), 3)
