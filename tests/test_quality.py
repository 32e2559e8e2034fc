"""`rescore quality`: what came of the scores that were served, by version and by week."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rescore.cli import app
from rescore.errors import UnknownModel
from rescore.tests import trials
from rescore.tests.support import define, one
from rescore.trainer import operations as ops
from rescore.trainer.judge import judge
from rescore.trainer.quality import by_version, by_week

Connection = psycopg.Connection[Any]


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with trials.connected(plain_dsn) as made:
        yield made


def shown(dsn: str, *words: str) -> str:
    done = CliRunner().invoke(app, ["quality", *words, "--dsn", dsn])
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80 or "--json" in words
    return done.output


def served(conn: Connection) -> tuple[int, int, int]:
    """Two champions one after the other, and a challenger of the second, which also has open scores."""
    poor, good = trials.version(conn, -0.5), trials.version(conn, 1.0)
    ops.promote(conn, "churn", poor)
    trials.live(conn, 1, days=3)
    ops.promote(conn, "churn", good)
    trials.live(conn, 30)
    rival = trials.version(conn, 0.5, candidate=True)
    ops.challenge(conn, "churn", rival, 0.3)
    trials.live(conn, 60)
    judge(conn, "churn")
    trials.at(conn, 90)
    assert one(conn, "SELECT rescore.snapshot('customers')") == 400
    return poor, good, rival


def test_versions_as_they_were_judged_and_those_that_were_not(
    conn: Connection, plain_dsn: str
) -> None:
    poor, good, rival = served(conn)
    rows = {row["version"]: row for row in by_version(conn, "churn")}
    assert list(rows) == [rival, good, poor]
    judged = one(
        conn,
        "SELECT to_jsonb(q) - '{snapshots,open,at}'::text[] FROM rescore.served_quality AS q WHERE version = %s",
        good,
    )
    assert {name: rows[good][name] for name in judged if name not in ("began", "ended")} == {
        name: value for name, value in judged.items() if name not in ("began", "ended")
    }
    assert rows[good]["verdict"] == "better" and rows[good]["brier"] is None
    # A challenger is not judged: what its weeks say together, as if counted at once.
    at_once = """SELECT count(*), avg(-ln(CASE label WHEN 1 THEN score ELSE 1 - score END)), avg((score - label) ^ 2),
                        avg(score), avg(label) FROM rescore.snapshots WHERE version = %s AND resolved IS NOT NULL"""
    names = ("examples", "log_loss", "brier", "mean_score", "base_rate")
    assert tuple(rows[rival][name] for name in names) == pytest.approx(one(conn, at_once, rival))
    assert rows[rival]["log_loss_low"] is rows[rival]["verdict"] is rows[rival]["customers"] is None
    assert rows[rival]["open"] + rows[good]["open"] == 400
    assert json.loads(shown(plain_dsn, "churn", "--json")) == json.loads(
        json.dumps([*rows.values()], default=lambda moment: moment.isoformat())
    )


def test_a_version_is_some_lines_of_a_table(conn: Connection, plain_dsn: str) -> None:
    poor, good, rival = served(conn)
    out = shown(plain_dsn)
    assert out == shown(plain_dsn, "churn") and out.startswith("model churn\n")
    of = dict(zip((rival, good, poor), re.split(r"\n +(?=\d )", out)[1:], strict=True))
    number = r"-?[\d.e-]+"
    interval = rf"{number} +\({number} to {number}\)"
    assert re.search(rf"2026-01-31 to 2026-03-03 +auc +{interval}", of[good])
    assert re.search(rf"\d+ examples +log_loss +{interval}", of[good])
    assert re.search(rf"gain over {poor} +{interval}", of[good])
    assert "verdict      better in log_loss" in of[good]
    assert re.search(r"\d+ open\s", of[good]) and "due from 2026-04-11 on" in of[good]
    assert "verdict" not in of[poor]  # there was none before it
    assert re.search(rf"week of 2026-03-02 +log_loss +{number} *\n", of[rival])


def test_weeks_are_those_of_the_view(conn: Connection, plain_dsn: str) -> None:
    served(conn)
    conn.execute("UPDATE rescore.snapshots SET quarantined = 'a bot' WHERE taken_at < '2026-01-03'")
    rows = by_week(conn)
    with conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        view = cursor.execute("SELECT * FROM rescore.live_quality").fetchall()
    assert sorted(map(str, map(sorted, map(dict.items, rows)))) == sorted(
        map(str, map(sorted, map(dict.items, view)))
    )
    assert [row["week"] for row in rows] == sorted((row["week"] for row in rows), reverse=True)
    assert len(json.loads(shown(plain_dsn, "--weeks", "--json"))) == len(rows)
    out = shown(plain_dsn, "churn", "--weeks")
    assert re.search(r"2026-03-02 +\d+ of \d+\s", out) and "mse" not in out
    assert "kept" in out and re.search(r"\b800\b|\b400\b", out)


def test_scores_that_are_no_probabilities_have_no_log_loss(conn: Connection) -> None:
    served(conn)
    conn.execute(
        "UPDATE rescore.snapshots SET score = 1.5 WHERE key = '7' AND taken_at < '2026-01-10'"
    )
    weeks = "SELECT week < '2026-01-10', log_loss IS NULL AND brier IS NULL, base_rate IS NULL FROM rescore.live_quality"
    assert {*conn.execute(weeks.encode()).fetchall()} == {
        (True, True, False),
        (False, False, False),
    }


def test_weeks_without_scores_do_not_count(conn: Connection) -> None:
    *_, rival = served(conn)
    conn.execute(f"UPDATE rescore.snapshots SET score = 0.8 WHERE version = {rival}".encode())
    # Where scoring failed, there is an outcome and no score.
    conn.execute(
        f"""INSERT INTO rescore.snapshots (model, key, taken_at, version, score, design, label, due_at, resolved, resolved_at)
            SELECT model, key, taken_at - interval '14 days', version, NULL, design, label, due_at, resolved, resolved_at
            FROM rescore.snapshots WHERE version = {rival} AND resolved IS NOT NULL""".encode()
    )
    row = next(row for row in by_version(conn, "churn") if row["version"] == rival)
    assert row["mean_score"] == pytest.approx(0.8) and row["log_loss"] is None


def test_one_absurd_score_takes_nothing_from_anybody(conn: Connection, plain_dsn: str) -> None:
    """PostgreSQL raises where a square underflows; a linear sum of -700 is a score of 1e-304."""
    trials.version(conn, 1.0)
    trials.live(conn, 1)
    conn.execute("UPDATE rescore.snapshots SET score = 9.9e-305, label = 0 WHERE key = '7'")
    conn.execute("UPDATE rescore.snapshots SET score = 5e-324, label = 0 WHERE key = '8'")
    rest = """SELECT sum((score - label) ^ 2) / count(*) * (count(*) / 800.0), sum(score) / 800
              FROM rescore.snapshots WHERE key NOT IN ('7', '8')"""
    (row,) = by_version(conn, "churn")
    assert (row["brier"], row["mean_score"]) == pytest.approx(one(conn, rest))
    assert "brier" in shown(plain_dsn) and "brier" in shown(plain_dsn, "--weeks")
    conn.execute("UPDATE rescore.snapshots SET score = 5e-324, label = 0")
    (row,) = by_version(conn, "churn")
    assert row["brier"] == row["mean_score"] == 0


def test_the_holdout_is_apart(conn: Connection, plain_dsn: str) -> None:
    trials.version(conn, 1.0)
    trials.live(conn, 1)
    conn.execute(
        "UPDATE rescore.snapshots SET holdout = rescore.share('x', key) < 0.3, treated_at = CASE WHEN key = '7' THEN taken_at END"
    )
    out = shown(plain_dsn, "--weeks")
    assert len(by_week(conn, "churn")) == 2
    assert "held out" in out and re.search(r"  2( .*\n.*)?treated", out)


def test_what_there_is_before_anything_is_resolved(conn: Connection, plain_dsn: str) -> None:
    assert "no score is logged yet: `rescore run` takes snapshots" in shown(plain_dsn, "churn")
    assert shown(plain_dsn, "churn", "--json") == "[]\n"
    trials.version(conn, 1.0)
    assert one(conn, "SELECT rescore.snapshot('customers')") == 400
    assert re.search(r" 1 +400 open *\n", shown(plain_dsn))
    assert "once its horizon has passed" in shown(plain_dsn, "churn", "--weeks")
    for ask in (by_version, by_week):
        with pytest.raises(UnknownModel, match="chrun") as unknown:
            ask(conn, "chrun")
        assert unknown.value.detail == "Known models: churn."


def test_what_a_removed_model_left_is_told(conn: Connection, plain_dsn: str) -> None:
    trials.version(conn, 1.0)
    trials.live(conn, 1)
    text = trials.DEFINITION.replace("TRAFFIC", trials.RULES).replace(
        "models: {churn:", "models: {loyal:"
    )
    define(conn, text.replace("{churn_score: {model: churn}}", "{loyal_score: {model: loyal}}"))
    (row,) = by_version(conn, "churn")
    assert row["examples"] == 800
    assert by_version(conn, "loyal") == []
    assert by_version(conn) == [row]
    assert "model churn" in shown(plain_dsn) and "model churn" in shown(plain_dsn, "--weeks")
