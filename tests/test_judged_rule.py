"""A judgement is acted on: by the rule `judged` of a definition, and by an alert."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rescore.compiler.definition import parse
from rescore.errors import BadDefinition
from rescore.tests import trials
from rescore.tests.support import one
from rescore.trainer import alerts
from rescore.trainer import operations as ops
from rescore.trainer.alert_rules import Alerts
from rescore.trainer.alert_rules import Quality as QualityRule
from rescore.trainer.alerts import Alerting
from rescore.trainer.compare import traffic
from rescore.trainer.database import query
from rescore.trainer.judge import ServedQuality
from rescore.trainer.judged import read_judged
from rescore.trainer.rules import Judging
from rescore.trainer.sweep import Terms

Connection = psycopg.Connection[Any]
RULES = "{judged: 0.02, customers: 100, cool_down: 30 days}"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with trials.connected(plain_dsn, rules=RULES) as made:
        yield made


def rounds(conn: Connection) -> dict[str, Any]:
    """What the two jobs do in a round of the runner, and what the second says."""
    for job in (ServedQuality(60), Judging(60, Terms())):
        facts = job.work(conn, Event())
        assert "error" not in facts
    return facts


def champion(conn: Connection) -> int:
    return int(one(conn, "SELECT champion FROM rescore.deployments WHERE model = 'churn'"))


def test_a_version_that_served_worse_is_rolled_back(conn: Connection) -> None:
    good, bad = trials.version(conn, 1.0), trials.version(conn, -1.0)
    assert "switched" not in rounds(conn)
    trials.live(conn, 1)
    said = rounds(conn)["switched"]
    assert said.startswith(f"churn: by rule: log_loss of version {bad} as it served is worse")
    assert champion(conn) == good
    assert one(conn, "SELECT array_agg(DISTINCT churn_score_version) FROM customers") == [good]
    action, version, previous, reason, details = (
        conn.execute(
            """SELECT action, version, previous, reason, details FROM rescore.deployment_history
           ORDER BY id DESC LIMIT 1"""
        ).fetchone()
        or [None] * 5
    )
    assert (action, version, previous) == ("rollback", good, bad)
    assert f"than that of version {good}, whose place it took" in reason
    assert (details["rule"], details["against"], details["verdict"]) == ("judged", good, "worse")
    assert details["gain_at_any_look"]["high"] < -0.02


def test_what_somebody_lets_serve_again_is_judged_by_what_comes_next(conn: Connection) -> None:
    good, bad = trials.version(conn, 1.0), trials.version(conn, -1.0)
    trials.live(conn, 1)
    assert "switched" in rounds(conn)
    ops.promote(conn, "churn", bad, "the boss wants it")
    trials.live(conn, 31, days=1)
    trials.at(conn, 40)
    assert "switched" not in rounds(conn)  # in the cool-down
    conn.execute("DELETE FROM rescore.judgements")
    trials.at(conn, 21)
    ServedQuality(60).work(conn, Event())  # as it was when the rule acted: nothing new is known
    trials.at(conn, 90)
    assert "switched" not in rounds(conn)
    trials.live(conn, 91)
    assert "switched" in rounds(conn)
    assert champion(conn) == good


@pytest.mark.parametrize(
    ("rules", "weight"),
    [
        (RULES.replace("0.02", "5"), -1.0),  # worse, but by less than that
        (RULES.replace("100", "1000"), -1.0),  # too few customers
        (RULES, 0.98),  # about the same
        (RULES.replace("judged", "promote"), -1.0),  # nobody asked for it
    ],
)
def test_nothing_else_is(plain_dsn: str, rules: str, weight: float) -> None:
    with trials.connected(plain_dsn, rules=rules) as conn:
        trials.version(conn, 1.0)
        latest = trials.version(conn, weight)
        trials.live(conn, 1)
        assert "switched" not in rounds(conn)
        assert champion(conn) == latest
        assert one(conn, "SELECT count(*) FROM rescore.judgements") == 1


def test_a_version_that_is_gone_is_left(conn: Connection) -> None:
    trials.version(conn, 1.0)
    trials.version(conn, -1.0)
    trials.live(conn, 1)
    latest = trials.version(conn, 0.9)
    assert "switched" not in rounds(conn)
    assert champion(conn) == latest


def test_it_is_as_sure_at_every_look(conn: Connection) -> None:
    trials.version(conn, 1.0)
    bad = trials.version(conn, -1.0)
    trials.live(conn, 1)
    ServedQuality(60).work(conn, Event())
    found = read_judged(conn, traffic(conn, "churn"))
    assert found is not None and (found.version, found.metric) == (bad, "log_loss")
    kept = one(conn, "SELECT gain FROM rescore.judgements WHERE version = %s", bad)
    assert found.gain.low < kept["low"] < found.gain.estimate < kept["high"] < found.gain.high < 0
    json.dumps(found.to_json())


def test_an_alert_tells_what_was_judged_worse(conn: Connection, tmp_path: Path) -> None:
    good, bad = trials.version(conn, 1.0), trials.version(conn, -1.0)
    trials.live(conn, 1)
    out = tmp_path / "told"
    write = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"
    tell = {"command": [sys.executable, "-c", write, str(out)]}

    def look(**rule: Any) -> Any:
        given = {"tell": tell, "rules": {"judged": rule}}
        return Alerting(60, Alerts.model_validate(given)).work(conn, Event())["open"]

    assert look() == 0
    ServedQuality(60).work(conn, Event())
    assert (look(), look(), look(serving=True)) == (1, 1, 1)
    (told,) = map(json.loads, out.read_text().splitlines())
    assert told["cause"] == f"judged: version {bad} of churn"
    assert f"served worse than version {good}" in told["message"]
    assert told["message"].endswith("it still serves")
    assert "switched" in rounds(conn)
    assert (look(), look(serving=True)) == (1, 0)
    trials.at(conn, 200)
    assert look(within="30 days") == 0


def test_numbers_are_not_judged() -> None:
    text = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features: {orders: {from: orders, count: true}}
labels: {revenue: {sum: orders, of: amount, within: 30 days}}
models: {value: {label: revenue, estimator: {sgd_regressor: {}}, traffic: {judged: 0}}}
scores: {value_score: {model: value}}
"""
    with pytest.raises(BadDefinition, match="label revenue is a number: nothing is judged"):
        parse(text, "value.yaml")
    assert parse(text.replace("judged", "rollback"), "value.yaml").models["value"].traffic


LOGGED = """
INSERT INTO rescore.snapshots (model, key, taken_at, version, score, design, label, due_at, resolved, resolved_at)
SELECT 'churn', n::text, rescore.clock() - day * interval '1 day', 1, 0.5, '{0}', n % 2, rescore.clock(),
       pg_current_xact_id(), rescore.clock()
FROM generate_series(1, 5000) AS n, generate_series(1, 200, 20) AS day
"""


def test_quality_reads_no_more_than_so_much(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute("RESET rescore.clock")  # where partitions are
    trials.version(conn, 1.0)
    conn.execute(LOGGED.encode())
    conn.execute("ANALYZE rescore.snapshots")
    rule = QualityRule.model_validate({"metric": "auc", "worse_than": 0.9})
    everything = alerts._live(conn, "churn", rule)
    monkeypatch.setattr(alerts, "MOST_BYTES", 500_000)
    given = {"model": "churn", "within": rule.within, "bytes": alerts.MOST_BYTES}
    since, percent = conn.execute(query("alert_window"), given).fetchone() or (None, 0)
    assert 0 < percent < 50
    given |= {"since": since, "percent": percent, "number": False}
    asked = query("alert_quality").as_string(conn)
    explain = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT json) " + asked)
    (plan,) = one_json(conn, explain, given)
    nodes = list(scans(plan["Plan"]))
    assert {kind for kind, _ in nodes} == {"Sample Scan"}
    assert sum(blocks for _, blocks in nodes) < 2 * 500_000 / 8192
    sampled = alerts._live(conn, "churn", rule)
    assert everything is not None and sampled is not None
    assert everything.groups == 256 and sampled.groups > 150  # customers of all keys
    assert everything.estimate == sampled.estimate == 0.5


def one_json(conn: Connection, statement: sql.SQL, given: dict[str, Any]) -> Any:
    row = conn.execute(statement, given).fetchone()
    assert row is not None
    return row[0]


def scans(node: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The scans of snapshots in a plan, and the blocks each touched."""
    if str(node.get("Relation Name", "")).startswith("snapshots"):
        yield node["Node Type"], node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    for part in node.get("Plans", ()):
        yield from scans(part)
