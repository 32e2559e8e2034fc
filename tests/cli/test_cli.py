"""The command line as it is called: what it prints, where, and what it exits with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rescore import cli

ORDERS = """
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz, amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
INSERT INTO orders
SELECT c, timestamptz '2024-01-01Z' + (d * (5 + c % 40)) * interval '1 day', 5 + c % 30
FROM generate_series(1, 200) AS c, generate_series(0, 60) AS d
WHERE d * (5 + c % 40) < 60 + c * 2;
"""

DEFINITION = """
profile:
  table: customers
  key: {name: customer_id, type: bigint}
events:
  orders: {time: ordered_at}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  days_since_order: {from: orders, days_since: last}
labels:
  churned: {none: orders, within: 45 days}
models:
  churn: {label: churned}
scores:
  churn_score: {model: churn}
"""


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What its last line says."""
        return json.loads(self.out.splitlines()[-1])


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["rescore", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capfd.readouterr())

    return call


@pytest.fixture
def shop(db: Any, dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A database with orders, named by the environment; returns the definition file."""
    db.execute(ORDERS)
    db.commit()
    monkeypatch.setenv("RESCORE_DSN", dsn)
    path = tmp_path / "customers.yaml"
    path.write_text(DEFINITION)
    return path


def test_from_definition_to_rollback(run: Run, shop: Path) -> None:
    assert "create table" in run("plan", shop).out.lower()
    assert run("apply", shop, "--json").json["changes"]
    assert run("apply", shop).out.strip().startswith("nothing to do")
    until = ["--until", "2025-01-15"]
    trained = run("train", "churn", *until, "--publish", "--json")
    assert trained.code == 0
    assert trained.json["version"] == 1
    assert trained.json["metrics"]["auc"] > 0.5
    again = run("train", "churn", *until, "--publish", "--seed", 5)
    assert "published as version 2" in again.out
    assert [v["serves"] for v in run("models", "--json").json] == [True, False]
    assert run("rollback", "churn", "--json").json["version"] == 1
    assert run("promote", "churn", 2, "--reason", "better").code == 0
    assert run("status", "--json").json[0]["champion"] == 2
    assert run("sweep", "customers").code == 0
    assert run("verify", "customers", "--json").json == []
    assert run("rebuild", "customers", "--json").json["changed"] == 0
    assert run("verify-model", "churn", "--json").json["largest_difference"] < 1e-9
    checks = {row["check"]: row["result"] for row in run("doctor", "--json").json}
    assert set(checks.values()) == {"right"}
    assert "import inside" in checks


def test_verify_fails_when_a_value_is_wrong(run: Run, shop: Path, db: Any) -> None:
    run("apply", shop)
    db.execute("SET session_replication_role = replica")
    db.execute("UPDATE customers SET orders = orders + 1 WHERE customer_id = 7")
    db.commit()
    found = run("verify", "customers", "--json")
    assert found.code == 1
    assert {(row["key"], row["feature"]) for row in found.json} == {("7", "orders")}
    assert "orders" in run("verify", "customers").out
    assert run("rebuild", "customers", "--json").json["changed"] >= 1
    assert run("verify", "customers").code == 0


def test_publish_takes_files(run: Run, shop: Path, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    from sklearn.linear_model import LogisticRegression

    run("apply", shop)
    rows = [[1, 5, 200], [9, 90, 2], [3, 30, 100], [7, 50, 9]]
    joblib.dump(LogisticRegression().fit(rows, [1, 0, 1, 0]), tmp_path / "model.joblib")
    published = run("publish", "churn", tmp_path / "model.joblib", "--candidate", "--json")
    assert published.json == {"model": "churn", "version": 1, "serves": False}
    assert run("status", "--json").json[0]["champion"] is None


def test_errors_are_one_message_without_traceback(run: Run, shop: Path) -> None:
    done = run("train", "nosuch")
    assert done.code == 1
    assert done.err.startswith('rescore: unknown model "nosuch"')
    assert "HINT:" in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_wrong_files_are_refused(run: Run, shop: Path, tmp_path: Path) -> None:
    run("apply", shop)
    (tmp_path / "model.joblib").write_bytes(b"\x80\x04junk")
    assert run("publish", "churn", tmp_path / "model.joblib").code == 3
    assert "No such file" in run("publish", "churn", tmp_path / "none.pkl").err
    shop.write_text(DEFINITION.replace("features:", "featrues:"))
    typo = run("plan", shop)
    assert typo.code == 2
    assert "featrues" in typo.err


@pytest.mark.parametrize("command", [["models"], ["train", "churn"], ["doctor"]])
def test_no_server(run: Run, command: list[str]) -> None:
    done = run(*command, "--dsn", "host=127.0.0.1 port=1 connect_timeout=2")
    assert done.code == 1
    assert "cannot connect to PostgreSQL" in done.err + done.out


def test_a_database_without_rescore(run: Run, empty_dsn: str) -> None:
    done = run("models", "--dsn", empty_dsn)
    assert done.code == 1
    assert "rescore install" in done.err
    found = {r["check"]: r["result"] for r in run("doctor", "--dsn", empty_dsn, "--json").json}
    assert found["schema"] == "wrong"


def test_install_twice_changes_nothing_the_second_time(run: Run, empty_dsn: str) -> None:
    first = run("install", "--dsn", empty_dsn, "--json").json
    second = run("install", "--dsn", empty_dsn, "--json").json
    assert first["before"] != first["after"]
    assert second["before"] == second["after"] == first["after"]


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["train"], ["promote", "churn", "two"], ["train", "m", "--passes", 0]]
)
def test_wrong_usage_exits_with_two(run: Run, arguments: list[object]) -> None:
    assert run(*arguments).code == 2


def test_moments_that_are_none(run: Run) -> None:
    done = run("train", "churn", "--moments", "2024-13-01")
    assert done.code == 2
    assert '"2024-13-01"' in done.err


def test_schema_is_json_schema(run: Run) -> None:
    assert "features" in run("schema").json["properties"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, rescore.cli; print(sorted({'sklearn', 'numpy', 'psycopg'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
