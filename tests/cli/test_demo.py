"""The demo's story with one customer in twenty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest

from rescore.errors import RescoreError
from rescore.examples.cdnow import data, demo
from rescore.server.account import default_home
from rescore.trainer.database import connection


@pytest.fixture(scope="session")
def bought() -> list[data.Purchase]:
    """Purchases of one customer in twenty."""
    found = data.purchases(default_home() / "cdnow")
    return [p for p in found if p.customer_id % 20 == 0]


@contextmanager
def no_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    yield lambda done, total: None


def test_the_data_are_whole() -> None:
    found = data.purchases(default_home() / "cdnow")
    assert len(found) == 69_659
    assert len({p.customer_id for p in found}) == 23_570
    assert (found[0].day, found[-1].day) == (date(1997, 1, 1), date(1998, 6, 30))
    days = [p.day for p in found]
    assert days == sorted(days)


def test_other_content_is_refused() -> None:
    with pytest.raises(RescoreError, match="SHA-256"):
        data._checked(b"something else")


def test_the_story(dsn: str, bought: list[data.Purchase]) -> None:
    said: list[str] = []
    with connection(dsn) as conn:
        told = demo.tell(conn, bought, said.append, no_bar)
        kept = conn.execute("SELECT count(churn_score) FROM scores_kept").fetchone()
    assert told["events"] == len(bought)
    assert told["verify_differences"] == 0
    assert told["versions"] == 10
    assert told["auc"] > 0.75
    assert told["log_loss"] < told["constant_log_loss"]
    assert kept == (told["customers"],)
    assert any("churned" in line for line in said)
    _moves_with_each_event(told["followed"]["story"])


def _moves_with_each_event(story: list[dict[str, Any]]) -> None:
    buys = [step for step in story if step["what"].startswith("buys")]
    assert len(buys) >= 3
    assert story[0]["what"] == "as history left it"
    assert all(step["was"] != step["churn_score"] for step in buys)
    assert all(0 < step["churn_score"] < 1 for step in story)
    assert [step["orders"] for step in buys] == sorted(step["orders"] for step in buys)
