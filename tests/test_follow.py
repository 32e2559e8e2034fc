"""`rescore run --follow-clock`: jobs by moments that are told, and nothing by the time of day."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest

from rescore.errors import Busy, RescoreError
from rescore.tests.support import one
from rescore.trainer.database import connection
from rescore.trainer.follow import advance, follow, listen
from rescore.trainer.usage import WrongUsage

DAY = 86_400.0


@dataclass
class Noting:
    """A job that notes at which moment it was done."""

    every: float
    name: str = "noting"
    channel: str = "noting_now"
    at: list[str] = field(default_factory=list)
    fails: bool = False

    def work(self, conn: psycopg.Connection[Any], stop: threading.Event) -> dict[str, Any]:
        self.at.append(one(conn, "SELECT to_char(rescore.clock() AT TIME ZONE 'UTC', 'MM-DD')"))
        if self.fails:
            raise RescoreError("it cannot be done")
        return {"done": len(self.at)}


@contextmanager
def following(dsn: str, *jobs: Noting) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """A runner that follows, and a session that tells it moments."""
    said: list[dict[str, Any]] = []
    stop = threading.Event()
    given = {"say": said.append, "stop": stop}
    runner = threading.Thread(target=follow, args=(dsn, list(jobs)), kwargs=given)
    runner.start()
    try:
        with connection(dsn) as conn:
            listen(conn)
            yield conn, said
    finally:
        stop.set()
        runner.join(timeout=10)
    assert not runner.is_alive()


def test_what_is_due_by_then_is_done(plain_dsn: str) -> None:
    daily, weekly = Noting(DAY), Noting(7 * DAY, "weekly", "weekly_now")
    with following(plain_dsn, daily, weekly) as (conn, said):
        for day in range(1, 10):
            advance(conn, f"1998-01-0{day} 00:00+00", patience=30)
        assert daily.at == [f"01-0{day}" for day in range(1, 10)]
        assert weekly.at == ["01-01", "01-08"]
    assert len(said) == 11
    assert said[0]["clock"] == "1998-01-01 00:00+00"


@pytest.mark.long
def test_a_moment_told_twice_is_done_once_and_the_clock_never_goes_back(plain_dsn: str) -> None:
    daily = Noting(DAY)
    with following(plain_dsn, daily) as (conn, said):
        advance(conn, "1998-01-02 00:00+00", patience=30)
        advance(conn, "1998-01-02 00:00+00", patience=30)
        for wrong in ("1998-01-01 00:00+00", "infinity", "some day"):
            with pytest.raises(Busy, match="no runner has reached"):
                advance(conn, wrong, patience=0.5)
        advance(conn, "1998-01-03 00:00+00", patience=30)
    assert daily.at == ["01-02", "01-03"]
    errors = [facts["error"] for facts in said if facts["job"] == "clock"]
    assert any("cannot be set to 1998-01-01" in error for error in errors)
    assert any("cannot be set to infinity" in error for error in errors)
    assert any("some day" in error for error in errors)


def test_a_job_that_fails_is_said_and_the_next_moment_comes(plain_dsn: str) -> None:
    daily = Noting(DAY, fails=True)
    with following(plain_dsn, daily) as (conn, said):
        advance(conn, "1998-01-01 00:00+00", patience=30)
        advance(conn, "1998-01-02 00:00+00", patience=30)
    assert [facts["error"] for facts in said] == ["it cannot be done"] * 2


def test_what_is_notified_is_due_at_the_next_moment(plain_dsn: str) -> None:
    weekly = Noting(7 * DAY)
    with following(plain_dsn, weekly) as (conn, _):
        advance(conn, "1998-01-01 00:00+00", patience=30)
        conn.execute("NOTIFY noting_now")
        advance(conn, "1998-01-02 00:00+00", patience=30)
        advance(conn, "1998-01-03 00:00+00", patience=30)
    assert weekly.at == ["01-01", "01-02"]


def test_one_runner_a_database(plain_dsn: str) -> None:
    with following(plain_dsn, Noting(DAY)) as (conn, _):
        advance(conn, "1998-01-01 00:00+00", patience=30)
        with pytest.raises(Busy, match="another runner"):
            follow(plain_dsn, [], say=print, stop=threading.Event())


def test_a_moment_that_is_no_text_is_refused(plain_dsn: str) -> None:
    told: Any = datetime(1998, 1, 1, tzinfo=timezone.utc)
    with connection(plain_dsn) as conn:
        listen(conn)
        with pytest.raises(WrongUsage, match="datetime is no text") as refused:
            advance(conn, told, patience=0.2)
    assert "datetime.datetime(1998, 1, 1" in refused.value.message
    assert "isoformat()" in refused.value.hint


def test_nobody_there_is_said(plain_dsn: str) -> None:
    with connection(plain_dsn) as conn:
        listen(conn)
        with pytest.raises(Busy, match="no runner has reached 1998-01-01"):
            advance(conn, "1998-01-01", patience=0.2)
