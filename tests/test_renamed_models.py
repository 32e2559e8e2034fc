"""A score whose model another one takes the place of: what the earlier one wrote is gone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from rescore.tests import trials
from rescore.tests.support import define, one
from rescore.tests.trials import Connection
from rescore.trainer.publish import publish

TEXT = trials.DEFINITION.replace("TRAFFIC", trials.RULES)
RENAMED = TEXT.replace("models: {churn:", "models: {loyal:").replace(
    "{churn_score: {model: churn}}", "{churn_score: {model: loyal}}"
)
KEPT = "SELECT count(churn_score), count(churn_score_version), count(churn_score_at) FROM customers"
STALE = "SELECT detail FROM rescore.health WHERE \"check\" = 'stale' AND status = '{}'"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with trials.connected(plain_dsn) as made:
        trials.version(made, 1.0)
        made.execute("CALL rescore.sweep('customers')")
        yield made


def test_the_score_of_a_model_that_was_renamed_is_null_until_the_other_one_serves(
    conn: Connection,
) -> None:
    assert one(conn, KEPT) == (400, 400, 400)
    assert "score churn_score anew" in define(conn, RENAMED).changes
    assert one(conn, KEPT) == (0, 0, 0)
    assert "score churn_score anew" not in define(conn, RENAMED).changes
    assert (
        one(conn, STALE.format("ok"))
        == "churn_score of customers: 0.0% stale, 0.0% of another version"
    )


def test_versions_of_two_models_with_the_same_number_are_not_taken_for_one(
    conn: Connection,
) -> None:
    both = TEXT.replace("models: {", "models: {loyal: {label: left, scaler: none}, ")
    define(conn, both)
    publish_loyal(conn)
    define(conn, both.replace("{churn_score: {model: churn}}", "{churn_score: {model: loyal}}"))
    wrong = "SELECT count(*) FROM customers AS p WHERE churn_score IS DISTINCT FROM rescore.predict('loyal', p)"
    assert one(conn, wrong) == 0


def test_scores_that_outlive_their_model_are_told(conn: Connection) -> None:
    """As a database has them to which such a definition was applied before."""
    define(conn, RENAMED)
    conn.execute(
        "UPDATE customers SET churn_score = 0.5, churn_score_version = 7, churn_score_at = rescore.clock()"
    )
    told = one(conn, STALE.format("warning"))
    assert told.startswith("churn_score of customers: 100.0% stale, 100.0% of another version")
    conn.execute("CALL rescore.sweep('customers')")
    assert one(conn, KEPT) == (0, 0, 0)


def publish_loyal(conn: Connection) -> None:
    made = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    made.coef_, made.intercept_ = np.array([[-2.0]]), np.array([1.0])
    assert publish(made, model="loyal", conn=conn) == 1
