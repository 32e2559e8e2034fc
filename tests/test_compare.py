"""Versions compared on what came of their customers, and the rules that act on it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rescore import cli
from rescore.cli import app
from rescore.compiler.definition_traffic import Traffic
from rescore.errors import NotEnoughData, RescoreError, UnknownVersion
from rescore.tests import trials
from rescore.tests.support import one
from rescore.trainer import compare_rows
from rescore.trainer import operations as ops
from rescore.trainer.compare import Rules, compare, traffic
from rescore.trainer.comparison_report import uplift_rows
from rescore.trainer.learning.intervals import Interval
from rescore.trainer.rules import Judging, act, decide
from rescore.trainer.sweep import Terms
from rescore.trainer.uplift import Uplift

Connection = psycopg.Connection[Any]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0.25, 0.125, 0.5), "0.25 (0.125 to 0.5)"),
        ((0.25, math.nan, math.nan), "0.25 (not known how surely)"),
        ((math.nan, math.nan, math.nan), "not known"),
    ],
)
def test_what_is_not_known_is_said_so(numbers: tuple[float, float, float], said: str) -> None:
    found = Uplift("churn", 9, 5, 2, *(Interval(*numbers, 0.95, 3) for _ in range(5)))
    assert [row["at 95%"] for row in uplift_rows(found)] == [said] * 5


@pytest.fixture
def conn(plain_dsn: str) -> Any:
    with trials.connected(plain_dsn) as made:
        yield made


def judge(conn: Connection) -> dict[str, Any]:
    facts = Judging(60, Terms()).work(conn, Event())
    assert "error" not in facts
    return facts


def serving(conn: Connection) -> Any:
    return one(conn, "SELECT champion, challenger FROM rescore.deployments WHERE model = 'churn'")


def test_snapshots_hold_what_each_version_said(conn: Connection) -> None:
    good, bad = trials.version(conn, 1.0), trials.version(conn, -1.0, candidate=True)
    quiet = trials.version(conn, 0.5, candidate=True)
    ops.challenge(conn, "churn", bad, 0.3)
    ops.shadow(conn, "churn", quiet)
    trials.live(conn, 1, days=1)
    wrong = f"""SELECT count(*) FROM rescore.snapshots AS s JOIN customers AS c ON c.customer_id::text = s.key
        CROSS JOIN LATERAL (SELECT 1 / (1 + exp(-tendency)) AS good, 1 / (1 + exp(tendency)) AS bad,
                                   1 / (1 + exp(-tendency / 2)) AS quiet) AS v
        WHERE NOT (abs((others ->> '{quiet}')::float8 - v.quiet) < 1e-12 AND NOT others ? s.version::text
                   AND CASE s.serving WHEN 'challenger'
                           THEN s.version = {bad} AND abs(s.score - v.bad) < 1e-12 AND abs((others ->> '{good}')::float8 - v.good) < 1e-12
                           ELSE s.version = {good} AND abs(s.score - v.good) < 1e-12 AND abs((others ->> '{bad}')::float8 - v.bad) < 1e-12 END)"""
    assert one(conn, wrong) == 0
    assert one(conn, "SELECT count(*) FROM rescore.snapshots WHERE serving = 'challenger'") > 80


def test_a_better_challenger_is_promoted_by_the_rule(conn: Connection) -> None:
    poor = trials.version(conn, -0.5)
    good = trials.version(conn, 1.0, candidate=True)
    ops.challenge(conn, "churn", good, 0.5)
    assert "switched" not in judge(conn)  # nothing is resolved yet
    trials.live(conn, 1, days=3)
    found = compare(conn, "churn")
    assert (found.candidate, found.baseline, found.paired) == (good, poor, True)
    assert found.verdict == "better" and found.customers == 400
    assert found.metrics["auc"]["candidate"].low > found.metrics["auc"]["baseline"].high
    assert found.sequential.low < found.fixed.low < found.fixed.estimate
    assert found.groups["uplift"].holds(0)  # nobody acted on the scores
    assert "switched" in judge(conn)
    assert serving(conn) == (good, None)
    assert one(conn, "SELECT array_agg(DISTINCT churn_score_version) FROM customers") == [good]


def test_snapshots_are_counted_page_by_page(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials.version(conn, -0.5)
    ops.challenge(conn, "churn", trials.version(conn, 1.0, candidate=True), 0.5)
    trials.live(conn, 1, days=3)
    at_once = compare(conn, "churn")
    monkeypatch.setattr(compare_rows, "PAGE", 170)
    sizes: list[int] = []
    add = compare_rows.Tally.add

    def counted(tally: compare_rows.Tally, rows: compare_rows.Rows) -> None:
        sizes.append(len(rows.labels))
        add(tally, rows)

    monkeypatch.setattr(compare_rows.Tally, "add", counted)
    paged = compare(conn, "churn")
    assert len(sizes) == 8 and set(sizes[:-1]) == {170} and sum(sizes) == at_once.examples == 1200
    assert paged.fixed.estimate == pytest.approx(at_once.fixed.estimate, abs=1e-12)
    assert paged.groups["uplift"] == at_once.groups["uplift"]
    auc = [each.metrics["auc"]["gain"].estimate for each in (paged, at_once)]
    assert auc[0] == pytest.approx(auc[1], abs=1e-3)
    apart = compare(conn, "churn", rules=Rules(customers=1000))
    assert (apart.paired, apart.customers < 300, apart.examples) == (False, True, 1200)
    conn.execute("UPDATE rescore.snapshots SET quarantined = 'a bot' WHERE length(key) = 1")
    without = compare(conn, "churn")
    conn.execute("DELETE FROM rescore.snapshots WHERE quarantined IS NOT NULL")
    assert (without.examples, without.fixed) == (1170, compare(conn, "churn").fixed)


def test_a_worse_challenger_ends_by_the_rule(conn: Connection) -> None:
    good = trials.version(conn, 1.0)
    bad = trials.version(conn, -1.0, candidate=True)
    ops.challenge(conn, "churn", bad, 0.2)
    trials.live(conn, 1)
    judge(conn)
    assert serving(conn) == (good, None)
    action, version, reason = one(conn, LAST)
    assert (action, version) == ("demote", bad)
    assert "log_loss of version" in reason and "worse" in reason


LAST = """SELECT action, version, reason FROM rescore.deployment_history
          WHERE model = 'churn' ORDER BY id DESC LIMIT 1"""


def test_a_bad_version_forced_into_service_is_rolled_back(conn: Connection) -> None:
    good = trials.version(conn, 1.0)
    bad = trials.version(conn, -1.0, candidate=True)
    trials.live(conn, 1)
    assert "switched" not in judge(conn)
    ops.promote(conn, "churn", bad, "the boss wants it")
    trials.live(conn, 30)
    assert "switched" in judge(conn)
    assert serving(conn) == (good, None)
    assert one(conn, "SELECT array_agg(DISTINCT churn_score_version) FROM customers") == [good]
    story = conn.execute(
        """SELECT action, version, previous, by = session_user, reason, details ->> 'verdict'
           FROM rescore.deployment_history WHERE model = 'churn' ORDER BY id"""
    ).fetchall()
    assert [row[:4] for row in story] == [
        ("publish", good, None, True),
        ("candidate", bad, good, True),
        ("promote", bad, good, True),
        ("rollback", good, bad, True),
    ]
    assert story[2][4] == "the boss wants it"
    assert story[3][4].startswith(f"by rule: log_loss of version {good} is better than version")
    assert story[3][5] == "better"
    # Forced again: in the cool-down of 30 days nothing acts by itself, afterwards it does.
    ops.promote(conn, "churn", bad, "again")
    trials.live(conn, 51, days=1)
    trials.at(conn, 75)
    assert traffic(conn, "churn").is_cooling()
    assert "switched" not in judge(conn)
    trials.at(conn, 90)
    assert "switched" in judge(conn)
    assert serving(conn) == (good, None)
    assert traffic(conn, "churn").is_cooling()
    trials.at(conn, 80)  # the clock was wrong: that is not waited out
    assert not traffic(conn, "churn").is_cooling()


def test_what_learning_let_through_challenges_by_the_rule(plain_dsn: str) -> None:
    with trials.connected(plain_dsn, rules="{challenge: 40%, promote: 0, customers: 100}") as conn:
        poor = trials.version(conn, -0.5)
        refused, passed = (trials.version(conn, w, candidate=True) for w in (2.0, 1.0))
        conn.execute(
            """INSERT INTO rescore.learn_log
                   (model, version, action, examples, positives, from_xid, from_id, to_xid, to_id)
               SELECT 'churn', v.version, v.action, 0, 0, '1', 0, '1', 0
               FROM (VALUES (%s, 'refused'), (%s, 'candidate')) AS v (version, action)""",
            [refused, passed],
        )
        assert "switched" in judge(conn)
        assert serving(conn) == (poor, passed)
        assert one(conn, "SELECT count(DISTINCT churn_score_version) FROM customers") == 2
        trials.live(conn, 1)
        assert "switched" in judge(conn)
        assert serving(conn) == (passed, None)
        assert "switched" not in judge(conn)


def test_versions_are_compared_again_when_something_has_resolved(conn: Connection) -> None:
    trials.version(conn, 1.0)
    ops.challenge(conn, "churn", trials.version(conn, 0.9, candidate=True), 0.5)
    job = Judging(60, Terms())
    trials.live(conn, 1, days=1)
    assert "switched" not in job.work(conn, Event())
    before = job.judged["churn"]
    job.work(conn, Event())
    assert job.judged["churn"] == before
    trials.live(conn, 30, days=1)
    job.work(conn, Event())
    assert job.judged["churn"] != before


def test_what_somebody_switched_meanwhile_is_left(conn: Connection) -> None:
    good, bad = trials.version(conn, 1.0), trials.version(conn, -1.0)
    trials.live(conn, 1)
    state = traffic(conn, "churn")
    wanted = decide(conn, state)
    assert wanted is not None and wanted.action == "rollback"
    third = trials.version(conn, 0.9)
    assert not act(conn, state, wanted)
    assert serving(conn) == (third, None)
    assert {good, bad, third} == {1, 2, 3}


def test_nothing_to_compare_is_said(conn: Connection) -> None:
    trials.version(conn, 1.0)
    with pytest.raises(RescoreError, match="no two versions"):
        compare(conn, "churn")
    with pytest.raises(UnknownVersion, match="model churn has no version 2\n") as unknown:
        compare(conn, "churn", 2)
    assert unknown.value.detail == "Its versions: 1."
    bad = trials.version(conn, -1.0, candidate=True)
    trials.live(conn, 1)
    with pytest.raises(NotEnoughData, match=f"score of version {bad}\n") as never:
        compare(conn, "churn", bad)
    assert never.value.detail == f"No snapshot that waits for its outcome has one of version {bad}."
    assert never.value.hint.startswith(f"`rescore shadow churn {bad}` lets it score beside")
    with pytest.raises(RescoreError, match="version 2 of model churn cannot be") as itself:
        compare(conn, "churn", 2, 2)
    assert itself.value.detail == "Champion: 1."
    ops.challenge(conn, "churn", bad, 0.5)
    one(conn, "SELECT rescore.snapshot('customers')")
    with pytest.raises(NotEnoughData) as early:
        compare(conn, "churn", bad)
    assert early.value.hint.startswith("rescore run takes snapshots and resolves them;")
    due = one(conn, "SELECT min(due_at) FROM rescore.snapshots WHERE resolved IS NULL")
    assert early.value.detail.endswith(
        f"scored 400 that wait; the first is resolved from {due} on."
    )
    with pytest.raises(RescoreError, match='unknown model "chrun"'):
        compare(conn, "chrun")


def test_the_command_line_tells_the_difference(conn: Connection, plain_dsn: str) -> None:
    trials.version(conn, 1.0)
    bad = trials.version(conn, -1.0, candidate=True)
    run = CliRunner().invoke
    given = ["challenge", "churn", str(bad), "--share", "25%", "--dsn", plain_dsn, "--json"]
    assert json.loads(run(app, given).output)["share"] == 0.25
    trials.live(conn, 1)
    told = json.loads(run(app, ["compare", "churn", "--dsn", plain_dsn, "--json"]).output)
    assert told["verdict"] == "worse" and told["gain_at_any_look"]["high"] < 0
    assert set(told["served"]) == {"candidate", "baseline", "uplift"}
    shown = run(app, ["compare", "churn", "--dsn", plain_dsn]).output
    assert "stop: version 2 is worse" in shown and "outcomes by who served" in shown
    assert max(map(len, shown.splitlines())) <= 80
    other = ["compare", "churn", "1", "--with", "2", "--dsn", plain_dsn, "--json"]
    turned = json.loads(run(app, other).output)
    assert (turned["candidate"], turned["baseline"], "champion" in turned) == (1, 2, False)
    assert run(app, ["demote", "churn", str(bad), "--dsn", plain_dsn]).exit_code == 0
    assert serving(conn)[1] is None


def test_intervals_of_shares_are_shares(conn: Connection) -> None:
    """Also where they are near 1, where a symmetric interval goes beyond."""
    trials.version(conn, 1.0)
    ops.shadow(conn, "churn", trials.version(conn, 30.0, candidate=True))
    trials.live(conn, 1, days=1)
    score = "(CASE WHEN (label = 1) = (key <> '7') THEN 0.7 ELSE 0.3 END)"
    conn.execute(
        f"UPDATE rescore.snapshots SET score = {score} WHERE resolved IS NOT NULL".encode()
    )
    found = compare(conn, "churn")
    for name in ("auc", "pr_auc", "base_rate"):
        for side in ("candidate", "baseline"):
            assert 0 <= found.metrics[name][side].low < found.metrics[name][side].high <= 1, name


def test_the_manual_lists_exactly_the_keys_of_rules() -> None:
    text = (Path(cli.__file__).parent / "docs" / "serving.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| (.*?) \|$", text, re.MULTILINE)
    assert listed == [(name, f.description) for name, f in Traffic.model_fields.items()]
