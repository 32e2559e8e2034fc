"""From history to a serving version, with PL/Python and without."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sklearn.base import clone

import rescore
from rescore.errors import (
    ArtefactRefused,
    ContractViolated,
    NotEnoughData,
    NotFinite,
    PythonMissing,
    UnknownModel,
)
from rescore.plpython import artifact
from rescore.plpython.prediction import score
from rescore.trainer import operations as ops
from rescore.trainer.database import Connection, connection
from rescore.trainer.report import parse_moments, summary
from rescore.trainer.train import publish_trained, train
from rescore.trainer.usage import WrongUsage

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
UNTIL = START + timedelta(days=540)


def stored(conn: Connection, column: str = "churn_score") -> list[Any]:
    rows = conn.execute("SELECT to_jsonb(c) FROM customers AS c ORDER BY customer_id")
    return [row[column] for (row,) in rows]


def live_design(conn: Connection) -> np.ndarray:
    """What the server says the profile rows' design rows are, at the session's clock."""
    conn.execute("SELECT set_config('rescore.clock', %s, false)", (UNTIL.isoformat(),))
    rows = conn.execute(
        "SELECT rescore_compiled.churn_x(orders, spend, last_channel, "
        "(SELECT max(o.ordered_at) FROM orders o WHERE o.customer_id = c.customer_id), "
        "rescore.clock()) FROM customers c ORDER BY customer_id"
    )
    return np.array([row for (row,) in rows])


def test_no_transaction_stays_open_while_examples_are_read(shop: Connection) -> None:
    """Which would hold back the vacuum of the whole server: between two steps there is none."""
    statuses = []
    train(shop, "churn", until=UNTIL, progress=lambda *_: statuses.append(status(shop)))
    assert len(statuses) > 3
    assert set(statuses) == {TransactionStatus.IDLE}


def status(conn: Connection) -> TransactionStatus:
    return conn.info.transaction_status


def test_published_version_scores_the_rows_as_the_pipeline_does(shop: Connection) -> None:
    shop.execute("SELECT set_config('rescore.clock', %s, false)", (UNTIL.isoformat(),))
    shop.execute("DELETE FROM orders WHERE ordered_at > %s", (UNTIL,))
    made = train(shop, "churn", until=UNTIL, publish=True)
    ops.sweep(shop, "customers")
    expected = score(made.pipeline, live_design(shop))
    known = ~np.isnan(np.array(stored(shop), dtype=float))
    assert known.all()
    assert np.allclose(stored(shop), expected, rtol=0, atol=1e-9)
    assert set(stored(shop, "churn_score_version")) == {made.version}


def test_it_is_better_than_a_constant_and_says_on_what(shop: Connection) -> None:
    made = train(shop, "churn", until=UNTIL)
    assert made.version is None
    assert made.metrics is not None
    assert made.metrics["auc"] > 0.8
    assert made.metrics["log_loss"] < made.metrics["constant"]["log_loss"]
    assert made.test_moment == max(made.moments)
    assert all(m + timedelta(days=60) <= made.test_moment for m in made.train_moments)
    text = "\n".join(summary(made))
    assert "not published" in text
    assert f"auc {made.metrics['auc']:.4f}" in text


def test_later_events_change_nothing(shop: Connection) -> None:
    """A model trained as of a past present is the one that would have been trained then."""
    until = UNTIL - timedelta(days=100)
    now = train(shop, "churn", until=until)
    shop.execute("DELETE FROM orders WHERE ordered_at > %s", (until,))
    then = train(shop, "churn", until=until)
    assert np.array_equal(now.pipeline.steps[-1][1].coef_, then.pipeline.steps[-1][1].coef_)
    assert now.metrics == then.metrics


def test_what_is_recorded_beside_the_version(shop: Connection) -> None:
    first = train(shop, "churn", until=UNTIL, publish=True)
    second = train(shop, "churn", until=UNTIL, publish=True, candidate=True, reason="a try")
    rows = {row["version"]: row for row in ops.models(shop)}
    assert rows[first.version]["serves"]
    assert not rows[second.version]["serves"]
    assert rows[second.version]["parent"] == first.version
    assert first.metrics is not None
    assert rows[first.version]["auc"] == pytest.approx(first.metrics["auc"])
    assert ops.promote(shop, "churn", second.version or 0) == second.version
    assert ops.status(shop)[-1]["profile"] == "customers"
    assert ops.rollback(shop, "churn") == first.version


def test_an_ordinary_role_without_plpython_trains_and_serves(plain_shop: Connection) -> None:
    plain_shop.execute("SELECT set_config('rescore.clock', %s, false)", (UNTIL.isoformat(),))
    plain_shop.execute("DELETE FROM orders WHERE ordered_at > %s", (UNTIL,))
    made = train(plain_shop, "churn", until=UNTIL, publish=True)
    ops.sweep(plain_shop, "customers")
    expected = score(made.pipeline, live_design(plain_shop))
    assert np.allclose(stored(plain_shop), expected, rtol=0, atol=1e-9)
    assert ops.verify(plain_shop, "customers") == []


def test_without_plpython_a_forest_is_refused(plain_shop: Connection) -> None:
    with pytest.raises(PythonMissing, match="is not linear"):
        train(plain_shop, "forest", until=UNTIL, publish=True)


def test_with_plpython_a_forest_is_published(shop: Connection) -> None:
    made = train(shop, "forest", until=UNTIL, publish=True)
    assert [r["engine"] for r in ops.models(shop) if r["version"] == made.version] == ["python"]


@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ".skops"])
def test_files_and_notebooks_publish_alike(
    shop: Connection, dsn: str, tmp_path: Path, suffix: str
) -> None:
    made = train(shop, "churn", until=UNTIL, passes=2)
    path = tmp_path / f"model{suffix}"
    if suffix == ".skops":
        skops_io = pytest.importorskip("skops.io")
        skops_io.dump(made.pipeline, path)
    else:
        joblib.dump(made.pipeline, path)
    contract = made.contract.to_json()
    one = rescore.publish(path, model="churn", dsn=dsn, contract=contract)
    two = rescore.publish(made.pipeline, model="churn", conn=shop, contract=contract)
    rows = shop.execute("SELECT linear FROM rescore.models WHERE version IN (%s, %s)", (one, two))
    first, second = (row[0] for row in rows)
    assert first == second


def test_wrong_input_is_refused_by_name(shop: Connection, tmp_path: Path) -> None:
    fitted = train(shop, "churn", until=UNTIL).pipeline
    with pytest.raises(UnknownModel, match='"chrun"'):
        rescore.publish(fitted, model="chrun", conn=shop)
    with pytest.raises(ArtefactRefused, match="No such file"):
        rescore.publish(tmp_path / "m.joblib", model="churn", conn=shop)
    (tmp_path / "m.joblib").write_bytes(b"\x80\x04not a model")
    with pytest.raises(ArtefactRefused):
        rescore.publish(tmp_path / "m.joblib", model="churn", conn=shop)
    assert ops.models(shop) == []


def test_no_moment_with_a_known_outcome(shop: Connection) -> None:
    with pytest.raises(NotEnoughData, match='no moment to learn "churned"'):
        train(shop, "churn", until=START)


def test_one_moment_trains_without_being_measured(shop: Connection) -> None:
    made = train(shop, "churn", moments=[START + timedelta(days=300)], until=UNTIL)
    assert made.metrics is None
    assert made.test_moment is None
    assert "not measured" in "\n".join(summary(made))


def test_progress_ends_at_its_total(shop: Connection) -> None:
    seen: list[tuple[int, int]] = []
    train(shop, "churn", until=UNTIL, passes=2, progress=lambda *step: seen.append(step))
    assert seen[-1][0] == seen[-1][1]
    assert seen == sorted(seen)


@pytest.mark.parametrize(("text", "count"), [("2024-05-01,2024-06-01T12:00:00+02:00", 2)])
def test_moments_may_be_written_out(text: str, count: int) -> None:
    found = parse_moments(text)
    assert len(found) == count
    assert all(isinstance(moment, datetime) and moment.tzinfo for moment in found)


def test_a_future_present_is_refused(shop: Connection) -> None:
    with pytest.raises(WrongUsage, match="is in the future") as caught:
        train(shop, "churn", until=datetime(2999, 1, 1, tzinfo=timezone.utc))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("moments", ["fortnightly", "0 days", "-1 week"])
def test_steps_that_are_no_intervals(shop: Connection, moments: str) -> None:
    with pytest.raises(WrongUsage, match=f'--moments "{moments}" is not an interval') as caught:
        train(shop, "churn", until=UNTIL, moments=moments)
    assert "2 weeks" in caught.value.hint


def test_metrics_that_are_not_numbers(shop: Connection) -> None:
    pipeline = train(shop, "churn", until=UNTIL, passes=2).pipeline
    metrics = {"test": {"auc": float("nan")}}
    with pytest.raises(NotFinite, match=r'"test\.auc" is nan'):
        rescore.publish(pipeline, model="churn", conn=shop, metrics=metrics)


def test_a_candidate_says_how_it_will_serve(shop: Connection) -> None:
    made = train(shop, "churn", until=UNTIL, passes=2, publish=True, candidate=True)
    said = summary(made)[-1]
    assert f"recorded as candidate version {made.version}" in said
    assert f"`rescore promote churn {made.version}` lets it serve" in said


def refitted(pipeline: Any, columns: int) -> Any:
    """The same kind of model, fitted on an array: it knows no names."""
    rows = np.random.default_rng(1).normal(size=(40, columns))
    return clone(pipeline).fit(rows, np.arange(40) % 2)


def test_an_array_fitted_model_takes_the_contract_of_an_earlier_version(shop: Connection) -> None:
    made = train(shop, "churn", until=UNTIL, passes=2, publish=True, candidate=True)
    version = rescore.publish(refitted(made.pipeline, len(made.features)), model="churn", conn=shop)
    found = shop.execute("SELECT contract FROM rescore.models WHERE version = %s", (version,))
    assert found.fetchone() == (made.contract.to_json(),)


def test_what_is_fitted_on_examples_needs_no_feature_of_unknown_past(shop: Connection) -> None:
    made = train(shop, "back", until=UNTIL, passes=2)
    assert "age" in made.left_out
    named = refitted(made.pipeline, len(made.features))
    named[0].feature_names_in_ = np.array(made.features, dtype=object)
    version = rescore.publish(named, model="back", conn=shop)
    found = shop.execute("SELECT contract FROM rescore.models WHERE version = %s", (version,))
    assert found.fetchone() == (made.contract.to_json(),)
    named[0].feature_names_in_ = np.array([*made.features[1:], "orders?"], dtype=object)
    with pytest.raises(ContractViolated, match="lacks orders and has orders"):
        rescore.publish(named, model="back", conn=shop)


def test_open_categories_are_never_frozen_to_none(shop: Connection) -> None:
    made = train(shop, "churn", until=UNTIL, passes=2)
    with pytest.raises(ContractViolated, match="last_channel") as caught:
        rescore.publish(made.pipeline, model="churn", conn=shop)
    assert "fit on a DataFrame with the columns of last_channel" in caught.value.hint
    train(shop, "churn", until=UNTIL, passes=2, publish=True, candidate=True)
    with pytest.raises(ContractViolated):
        rescore.publish(refitted(made.pipeline, 3), model="churn", conn=shop)
    data = artifact.dump(made.pipeline, "joblib")
    with pytest.raises(psycopg.Error) as refused:
        shop.execute("SELECT rescore.publish('churn', %s)", (data,))
    assert refused.value.sqlstate == "RS004"


def test_linear_models_are_published_where_the_servers_python_is_unusable(
    shop: Connection, dsn: str
) -> None:
    made = train(shop, "churn", until=UNTIL, passes=2)
    forest = train(shop, "forest", until=UNTIL)
    shop.execute("DELETE FROM rescore.python_path")
    with connection(dsn) as fresh:  # the other session's Python has found rescore already
        done = publish_trained(fresh, made)
        with pytest.raises(PythonMissing, match="cannot import"):
            publish_trained(fresh, forest)
        assert [(row["version"], row["serves"]) for row in ops.models(fresh)] == [
            (done.version, True)
        ]


@pytest.mark.parametrize("name", ["empty.joblib", "none.joblib", "model.txt"])
def test_files_that_are_no_artefacts(shop: Connection, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.joblib").touch()
    (tmp_path / "model.txt").write_text("weights")
    with pytest.raises(ArtefactRefused) as caught:
        rescore.publish(tmp_path / name, model="churn", conn=shop)
    assert name in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == (3 if name == "empty.joblib" else 2)
