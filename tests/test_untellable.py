"""Labels that cannot be told, of anybody or of somebody: the others resolve, and why is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from threading import Event
from typing import Any

import pytest

from rescore.errors import DoesNotFit
from rescore.tests.running import until
from rescore.tests.snapshot_shop import (
    DEFINITION,
    Connection,
    at,
    connected,
    labels,
    resolve,
    shop,
    snapshot,
)
from rescore.tests.support import one
from rescore.trainer.database import translated
from rescore.trainer.failing import Patience
from rescore.trainer.ledger import Ledger
from rescore.trainer.run import do_round
from rescore.trainer.snapshots import Snapshotting, log

OPEN = (
    "SELECT array_agg(DISTINCT model ORDER BY model) FROM rescore.snapshots WHERE resolved IS NULL"
)
INCIDENTS = "SELECT count(*) FROM rescore.incidents"
POISONED = DEFINITION.replace("where: \"kind = 'cancel'\"", 'where: "100 / length(kind) > 3"')


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with connected(dsn) as made:
        yield made


def test_a_table_that_is_gone_keeps_no_other_label_from_being_told(conn: Connection) -> None:
    shop(conn)
    snapshot(conn)
    conn.execute("ALTER TABLE unpaid_list RENAME TO elsewhere")
    at(conn, "2026-02-20")
    with pytest.raises(DoesNotFit) as told, translated():
        log(conn, "customers", rounds=False)
    missing = 'label gone of model lose: relation "public.unpaid_list" does not exist'
    assert told.value.message == missing
    assert "run `rescore apply`" in told.value.hint
    assert one(conn, OPEN) == ["dun", "leave", "lose"]
    assert set(labels(conn, "churn").values()) == {1.0}
    health = "SELECT status || ': ' || detail FROM rescore.health WHERE \"check\" = 'tables'"
    assert one(conn, health).startswith("error: customers: table public.unpaid_list is gone")
    with pytest.raises(Exception, match="label gone of model lose"):
        resolve(conn)
    conn.execute("ALTER TABLE elsewhere RENAME TO unpaid_list")
    log(conn, "customers", rounds=False)
    assert one(conn, OPEN) is None
    assert one(conn, health) == "ok: as they were"


def test_a_label_that_fails_holds_up_no_snapshot_and_is_said_to(conn: Connection) -> None:
    shop(conn)
    job, patience, ledger = Snapshotting(60.0), Patience(), Ledger(["snapshot"])

    def said(day: str) -> dict[str, Any]:
        at(conn, day)
        return do_round(conn, job, Event(), patience, ledger) or {}

    assert said("2026-01-01")["taken"] == 80
    conn.execute("ALTER TABLE unpaid_list RENAME TO elsewhere")
    why = 'label gone of model lose: relation "public.unpaid_list" does not exist'
    first, second, third = said("2026-02-20"), said("2026-02-21"), said("2026-02-22")
    assert (first["taken"], first["resolved"], first["error"]) == (
        80,
        20,
        f"labels of customers: {why}",
    )
    assert second["error"] == first["error"]
    assert re.fullmatch(r"labels of customers until \S+", second["postponed"])
    assert (third["taken"], third["resolved"], "error" in third) == (80, 0, False)
    part, moment, told = re.findall(r"(.+) until (\S+): (.*)", third["postponed"])[0]
    assert (part, told) == ("labels of customers", why)
    assert datetime.fromisoformat(moment).tzinfo
    assert one(conn, "SELECT error FROM rescore.runner_jobs") == first["error"]
    conn.execute("ALTER TABLE elsewhere RENAME TO unpaid_list")
    until(lambda: not job.patience.waits(part))
    last = said("2026-02-23")
    assert last["resolved"] == 60 and {"error", "postponed"}.isdisjoint(last)
    assert one(conn, "SELECT error FROM rescore.runner_jobs") is None


def test_of_whom_it_cannot_be_told_keeps_no_other_waiting(conn: Connection) -> None:
    shop(conn, POISONED, models=("leave",))
    snapshot(conn)
    conn.execute("INSERT INTO plans VALUES (3, '2026-01-09Z', ''), (7, '2026-01-09Z', 'cancel')")
    at(conn, "2026-02-01")
    assert log(conn, "customers", rounds=False).resolved == 20  # looked at
    found = labels(conn, "leave")
    assert found.pop(3) is None
    assert {customer for customer, label in found.items() if label} == {7}
    assert len(found) == 19 and None not in found.values()
    why = "SELECT sqlstate, message, model FROM rescore.incidents"
    assert one(conn, why) == ("22012", "label left: division by zero", "leave")
    assert log(conn, "customers", rounds=False).resolved == 0
    conn.execute("CALL rescore.sweep('customers')")
    assert one(conn, INCIDENTS) == 1
    at(conn, "2026-02-02 00:00:01+00")
    log(conn, "customers", rounds=False)
    assert one(conn, INCIDENTS) == 1
    conn.execute("UPDATE plans SET kind = 'cancel' WHERE customer_id = 3")
    at(conn, "2026-02-03 00:00:02+00")
    log(conn, "customers", rounds=False)
    assert labels(conn, "leave")[3] == 1
    due = "SELECT bool_and(due_at = taken_at + interval '25 days') FROM rescore.snapshots"
    assert one(conn, due)
    assert one(conn, INCIDENTS) == 0
