"""What the torture looks for is found where it is: else every scenario would pass."""

from __future__ import annotations

import psycopg
import pytest

from rescore.compiler.apply import apply
from rescore.torture import jobs, run, shop
from rescore.torture.audit import audit
from rescore.torture.book import Book
from rescore.torture.outcome import Outcome
from rescore.torture.places import Place


def test_counters_scores_and_statements(torn: Place) -> None:
    with psycopg.connect(torn.dsn(torn.shop()), autocommit=True) as conn:
        assert audit(conn) == []
        conn.execute("UPDATE customer_profile SET orders = orders + 1 WHERE customer_id = 1")
        conn.execute("UPDATE customer_profile SET churn_score = 0.123 WHERE customer_id = 2")
        conn.execute("UPDATE customer_profile SET worth_score_at = NULL WHERE customer_id = 3")
        conn.execute("UPDATE customer_profile SET worth_score_version = 99 WHERE customer_id = 4")
        book = Book(first=0)
        book.rows = {1: 3}
        found = "\n".join(audit(conn, [book]))
    assert "('1', 'orders', '2', '1')" in found
    assert "values of churn_score are not what version" in found
    assert "1 rows without a score" in found
    assert "1 values of worth_score name a version that nobody published" in found
    assert "statement 1: 0 rows of 3" in found


def test_what_waits_what_was_logged_and_what_was_learnt(torn: Place) -> None:
    with psycopg.connect(torn.dsn(torn.shop()), autocommit=True) as conn:
        apply(conn, shop.definition(queued=("orders",), learning="rounds"))
        jobs.settle(conn)
        assert audit(conn) == []
        conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
        conn.execute("UPDATE rescore.snapshots SET score = 0.123 WHERE key = '2'")
        conn.execute("DELETE FROM rescore.snapshots WHERE key = '3'")
        conn.execute("UPDATE rescore.snapshots SET version = 99 WHERE key = '4'")
        conn.execute("UPDATE rescore.snapshots SET resolved = '5', label = 1")
        round_of = """INSERT INTO rescore.learn_log (model, parent, version, examples, positives, skipped,
                          from_xid, from_id, to_xid, to_id, metrics, action, reasons)
                      VALUES ('churn', 1, %s, 7, 0, '{}', %s, 0, greatest('6', %s)::xid8, 0, '{}', 'published', '[]')"""
        for version, begin in ((2, "4"), (3, "5"), (4, "7")):
            conn.execute(round_of.encode(), [version, begin, begin])
        found = "\n".join(audit(conn))
    assert "not counted: ('customer_profile', '1')" in found
    assert "a snapshot is not what its version says: ('churn', '2', 1, 0.123" in found
    assert "logged more or less often than others: ('churn', '3'" in found
    assert "a snapshot by an unknown version: ('churn', '4', 99)" in found
    assert "learnt, and to be learnt: (2, 7, " in found
    assert "learnt twice, or by no round: (2, 3)" in found
    assert "passed over between two rounds: ('churn', 3)" in found


def test_what_was_lost_is_printed_and_told_by_the_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, bad = Outcome("good"), Outcome("bad", lost=["a row"])
    good.note({"inserts": 3})
    assert run.told([good], as_json=False) == 0
    assert "lost: nothing" in capsys.readouterr().out
    assert run.told([good, bad], as_json=True) == 1
    assert '"a row"' in capsys.readouterr().out
