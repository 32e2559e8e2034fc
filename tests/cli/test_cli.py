"""The command line as it is called: what it prints, where, and what it exits with."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple

import joblib
import numpy as np
import psycopg
import pytest
import typer
from psycopg.conninfo import make_conninfo
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import rescore
from rescore import cli, console
from rescore.commands.upkeep import _short
from rescore.trainer.report import _wrapped

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
    assert {"auc=", "log_loss="} <= {*re.findall(r"\w+=", run("models").out)}
    assert run("rollback", "churn", "--json").json["version"] == 1
    assert run("promote", "churn", 2, "--reason", "better").code == 0
    assert run("status", "--json").json[0]["champion"] == 2
    assert run("sweep", "customers").code == 0
    assert run("verify", "customers", "--json").json == []
    assert run("rebuild", "customers", "--json").json["changed"] == 0
    assert run("verify-model", "churn", "--json").json["largest_difference"] < 1e-9
    checks = {row["check"]: row for row in run("doctor", "--json").json}
    assert {row["result"] for row in checks.values()} == {"right"}
    assert f"rescore {rescore.__version__}, scikit-learn" in checks["import inside"]["detail"]


def test_forgetting_says_whether_there_was_anybody(run: Run, shop: Path) -> None:
    run("apply", shop)
    assert "nobody had this key" not in run("forget", "customers", 1).out
    assert "nobody had this key" in run("forget", "customers", 123456).out
    assert run("forget", "customers", 123456, "--undo", "--json").json["lifted"] is True
    assert {row["removed"] for row in run("forget", "customers", 123456, "--json").json} == {0}


def test_output_fits_80_columns(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("apply", shop)
    assert "recorded as candidate version 1" in run("train", "churn", "--candidate").out
    run("train", "churn", "--publish")
    listed, status = run("models").out, run("status").out
    assert max(map(len, (listed + status).splitlines())) <= 80
    assert "quality" in listed
    assert "champion" in status
    assert set(run("models", "--json").json[0]) > {"parent", "created_by", "format"}
    assert run("verify", "customers").out == "0 differences\n"
    assert "seconds" in run("sweep", "customers").out
    assert run("sweep", "customers", "--json").json["profile"] == "customers"


@pytest.mark.parametrize(("moved", "told"), [(1, "1 column"), (2, "2 columns"), (0, None)])
def test_status_counts_what_has_moved(moved: int, told: str | None) -> None:
    row = {"model": "churn", "moved": "city=here, there", "columns_moved": moved, "quarantined": 3}
    assert _short(row) == {**row, "moved": told, "kept out": 3}


def test_names_are_never_broken() -> None:
    names = tuple(f"last_channel=a shop called {n}" for n in range(9))
    lines = _wrapped("features: ", names)
    assert max(map(len, lines)) <= 80
    assert [
        n for line in lines for n in line.strip().removeprefix("features: ").rstrip(",").split(", ")
    ] == list(names)
    assert _wrapped("left out: ", ()) == []


def test_tables_wrap_one_column_at_its_words(capfd: pytest.CaptureFixture[str]) -> None:
    words = "a detail of some words " * 8
    console.show([{"check": "connection", "result": "right", "detail": words}], as_json=False)
    lines = capfd.readouterr().out.splitlines()
    assert "connection" in lines[3] and "right" in lines[3]
    assert max(map(len, lines)) <= 80
    assert {word for line in lines[3:] for word in line.split()} >= set(words.split())
    assert {w for line in lines[3:] for w in line.split()} <= {
        *words.split(),
        "connection",
        "right",
    }


def test_help_lists_every_command_once_under_a_heading(run: Run) -> None:
    shown = run("--help").out
    for heading, members in cli.PANELS.items():
        assert f" {heading} " in shown
        for member in members:
            group = member.info.name if isinstance(member, typer.Typer) else None
            name = group or getattr(member, "__name__", "").replace("_", "-")
            assert len(re.findall(rf"^\W* {name} ", shown, re.MULTILINE)) == 1
    assert run("--version").out == f"rescore {rescore.__version__}\n"


def test_no_cell_is_cut(capfd: pytest.CaptureFixture[str]) -> None:
    since, learnt = "2026-11-21 17:04", "nothing 2026-11-21 16:56"
    row = {"model": "m" * 30, "champion": 3, "since": since, "learnt": learnt, "incidents": 0}
    console.show([row], as_json=False)
    out = capfd.readouterr().out
    assert {*since.split(), *learnt.split(), "m" * 30} <= {*out.split()}
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_a_narrow_screen_loses_no_column(
    columns: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "_width", columns)  # COLUMNS is read once, when made
    row = {"model": "lateness", "role": "champion", "engine": "compiled", "created": "2026-11-22"}
    console.show([row], as_json=False)
    out = capfd.readouterr().out
    assert {*row, *row.values()} <= {*out.split()}


def test_sentences_of_a_list_have_a_line_each(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = "there is no PL/Python in this database.", "there are no roles in this server;"
    console.show_one({"python": False, "missing": [first, second + " make them"]}, as_json=False)
    assert capfd.readouterr().out.splitlines() == [
        "python   no",
        f"missing  {first}",
        f"         {second} make them",
    ]


def test_values_are_plain_lines(capfd: pytest.CaptureFixture[str]) -> None:
    console.show_one({"dsn": "host=/run dbname=x", "port": 5432, "missing": []}, as_json=False)
    assert capfd.readouterr().out.splitlines() == [
        "dsn      host=/run dbname=x",
        "port     5432",
        "missing  none",
    ]


def test_examples_are_a_file_to_train_on(run: Run, shop: Path, dsn: str, tmp_path: Path) -> None:
    run("apply", shop)
    until = ["--until", "2025-01-15"]
    table, arrays = tmp_path / "churn.csv", tmp_path / "churn.npz"
    told = run("examples", "churn", "--out", table, *until, "--json").json
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert told["examples"] == len(rows) == run("train", "churn", *until, "--json").json["examples"]
    names = [name for name in rows[0] if name not in ("customer_id", "moment", "label")]
    assert run("examples", "churn", "--out", arrays, *until).code == 0
    found = np.load(arrays)
    assert list(found["columns"]) == names
    design = np.array([[float(row[name]) for name in names] for row in rows])
    assert np.array_equal(found["design"], design)
    labels = [int(row["label"]) for row in rows]
    assert np.array_equal(found["label"], labels)
    assert 0 < sum(labels) < len(labels)
    assert len(np.unique(found["moment"])) == len({row["moment"] for row in rows}) > 1
    _publishes_what_is_fitted_on_names(design, labels, names, dsn)


def _publishes_what_is_fitted_on_names(
    design: Any, labels: list[int], names: list[str], dsn: str
) -> None:
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(design, labels)
    fitted[0].feature_names_in_ = np.array(names, dtype=object)  # as fitting on a DataFrame does
    assert rescore.publish(fitted, model="churn", dsn=dsn) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["examples", "churn", "--out", "x.parquet"], "neither .csv nor .npz"),
        (["examples", "churn", "--out", "/nonexistent/x.csv"], "cannot write"),
        (["train", "churn", "--until", "2999-01-01"], "is in the future"),
        (["train", "churn", "--moments", "fortnightly"], '--moments "fortnightly"'),
        (["sweep", "customers", "--max-age", "old"], '--max-age "old"'),
        (["publish", "churn", "model.txt"], "model.txt"),
        (["apply", "missing.yaml"], "missing.yaml"),
    ],
)
def test_what_cannot_be_meant_exits_with_two(
    run: Run, shop: Path, arguments: list[str], said: str
) -> None:
    run("apply", shop)
    done = run(*arguments)
    assert (done.code, said in done.err) == (2, True)


def test_a_misspelt_parameter_is_refused(run: Run, shop: Path) -> None:
    wrong = "{label: churned, estimator: {sgd_classifier: {alhpa: 0.1}}}"
    shop.write_text(DEFINITION.replace("{label: churned}", wrong))
    for command in ("plan", "apply"):
        done = run(command, shop)
        assert done.code == 2
        assert 'sgd_classifier has no parameter "alhpa"' in done.err
        assert 'did you mean "alpha"?' in done.err


def test_a_value_that_an_estimator_does_not_take_is_refused(run: Run, shop: Path) -> None:
    wrong = "{label: churned, estimator: {sgd_classifier: {alpha: small}}}"
    shop.write_text(DEFINITION.replace("{label: churned}", wrong))
    for command in ("plan", "apply"):
        done = run(command, shop)
        assert done.code == 2
        assert "sgd_classifier has a parameter of a value that it does not take" in done.err
        assert "must be a float in the range [0.0, inf). Got 'small' instead" in done.err
        assert "see scikit-learn's SGDClassifier" in done.err


def test_what_was_applied_before_keeps_nothing_else_from_being_applied(
    run: Run, shop: Path, db: Any
) -> None:
    model = "{label: churned, estimator: {sgd_classifier: {alpha: %s}}}"
    shop.write_text(DEFINITION.replace("{label: churned}", model % "0.5"))
    run("apply", shop)
    # As if another scikit-learn had taken it.
    db.execute(
        "UPDATE rescore.deployments SET spec = jsonb_set(spec, '{estimator,sgd_classifier,alpha}', '-1')"
    )
    db.commit()
    changed = DEFINITION.replace("{label: churned}", model % "-1") + "\n# more\n"
    shop.write_text(changed.replace("within: 30 days", "within: 20 days"))
    assert run("plan", shop).code == 0
    assert run("apply", shop).code == 0
    refused = run("train", "churn")
    assert refused.code == 2
    assert "alpha" in refused.err and "a value that it does not take" in refused.err


def test_status_asks_the_database_once(run: Run, shop: Path, monkeypatch: Any) -> None:
    run("apply", shop)
    made: list[object] = []
    connect = psycopg.connect

    def counted(*given: Any, **named: Any) -> Any:
        made.append(connect(*given, **named))
        return made[-1]

    monkeypatch.setattr(psycopg, "connect", counted)
    assert "runner: none is at work" in run("status").out
    assert len(made) == 1


def test_a_report_outlives_a_refused_publish(run: Run, shop: Path, db: Any) -> None:
    run("apply", shop)
    db.execute("ALTER TABLE rescore.models ADD CHECK (metrics IS NULL)")
    db.commit()
    done = run("train", "churn", "--until", "2025-01-15", "--publish")
    assert done.code == 1
    assert "auc" in done.out
    assert "not published" in done.out
    assert "check constraint" in done.err


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["train", "chrun"], "churn"),
        (["publish", "chrun", "m.joblib"], "churn"),
        (["verify", "custmers"], "customers"),
    ],
)
def test_names_that_were_perhaps_meant(
    run: Run,
    shop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    meant: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    joblib.dump(LogisticRegression().fit([[0], [1]], [0, 1]), "m.joblib")
    run("apply", shop)
    done = run(*command)
    assert done.code == 1
    assert f'did you mean "{meant}"?' in done.err
    assert "Known" in done.err


def test_a_quoted_profile_is_suggested_as_the_shell_wants_it(run: Run, shop: Path, db: Any) -> None:
    db.execute(
        'CREATE SCHEMA "Ops"; CREATE TABLE "Ops"."Customers" (customer_id bigint PRIMARY KEY)'
    )
    db.commit()
    shop.write_text(DEFINITION.replace("table: customers", """table: '"Ops"."Customers"'"""))
    run("apply", shop)
    assert """did you mean '"Ops"."Customers"'?""" in run("verify", "customers").err


def test_a_profile_of_another_schema_is_suggested(run: Run, shop: Path, db: Any) -> None:
    db.execute("CREATE SCHEMA crm")
    db.commit()
    shop.write_text(DEFINITION.replace("table: customers", "table: crm.customers"))
    assert run("apply", shop).code == 0
    assert 'did you mean "crm.customers"?' in run("verify", "customers").err


def test_what_takes_long_is_told_in_lines_where_no_terminal_is(
    run: Run, shop: Path, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("DROP INDEX orders_customer_id_idx")
    db.commit()
    monkeypatch.setattr(console, "FIRST_LINE_SECONDS", 3600)
    assert run("apply", shop).err == ""  # a moment is not worth a line
    db.execute("DROP INDEX orders_customer_id_rescore_idx")
    db.commit()
    monkeypatch.setattr(console, "FIRST_LINE_SECONDS", 0.05)
    monkeypatch.setattr(console, "LINE_SECONDS", 0.05)
    db.execute("LOCK TABLE orders IN ROW EXCLUSIVE MODE")  # an index waits for who writes
    held = Timer(3, db.rollback)
    held.start()
    lines = run("apply", shop).err.splitlines()
    held.join()
    index = "apply customers.yaml: CREATE INDEX CONCURRENTLY IF NOT EXISTS"
    assert any(line.startswith(index) for line in lines)
    assert re.fullmatch(r"apply customers\.yaml: done, after \d+ s", lines[-1])
    done = run("train", "churn", "--until", "2024-12-31")
    assert "examples" in done.out
    lines = done.err.splitlines()
    assert any(re.fullmatch(r"train churn: \d+ of \d+, after \d+ s", line) for line in lines)
    assert re.fullmatch(r"train churn: done, after \d+ s", lines[-1])
    quiet = run("train", "churn", "--until", "2024-12-31", "--json")
    assert (quiet.err, quiet.json["model"]) == ("", "churn")


def test_what_fails_is_not_told_to_be_done(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "FIRST_LINE_SECONDS", 0.01)
    with pytest.raises(ZeroDivisionError):
        _divide()
    lines = capfd.readouterr().err.splitlines()
    assert set(lines) == {"divide: by nothing, after 0 s"}


def test_how_far_it_is_is_told_where_the_end_is_known() -> None:
    steps = console.Steps("sweep p", lambda steps: None)
    assert str(steps) == "sweep p"
    steps(3, 9)
    assert str(steps) == "sweep p: 3 of 9"
    steps(9, 9)
    assert str(steps) == "sweep p: 9"
    steps.doing("backfill")
    assert str(steps) == "sweep p: backfill"


def _divide() -> None:
    with console.progress("divide") as progress:
        progress.doing("by nothing")
        time.sleep(0.2)
        raise ZeroDivisionError


def test_an_unknown_database_is_not_a_missing_server(run: Run, dsn: str) -> None:
    done = run("models", "--dsn", make_conninfo(dsn, dbname="nosuch"))
    assert 'database "nosuch" does not exist' in done.err
    assert "server start" not in done.err


@pytest.mark.parametrize(
    "command",
    [
        ["train", "m"], ["examples", "m", "--out", "x.csv"], ["models"], ["status"], ["sweep", "p"],
        ["verify", "p"], ["rebuild", "p"], ["verify-model", "m"], ["promote", "m", "1"],
        ["rollback", "m"], ["publish", "m", "m.joblib"], ["plan", "d.yaml"], ["apply", "d.yaml"],
    ],
)  # fmt: skip
def test_without_the_schema_every_command_says_so(
    run: Run, empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.yaml").write_text(DEFINITION)
    joblib.dump(LogisticRegression().fit([[0], [1]], [0, 1]), "m.joblib")
    with psycopg.connect(empty_dsn) as conn:
        conn.execute(ORDERS)
    done = run(*command, "--dsn", empty_dsn)
    assert (done.code, "`rescore install`" in done.err) == (1, True), done.err


def test_a_home_that_cannot_be_made_is_one_message(run: Run) -> None:
    done = run("server", "start", "--home", "/proc/none/home")
    assert done.code == 1
    assert done.err.startswith("rescore: ")
    assert "/proc/none" in done.err
    assert "Traceback" not in done.err


def test_a_command_that_is_not_on_the_path_is_named_by_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.chdir(Path(sys.executable).parent)
    assert console.command() == "rescore"
    monkeypatch.chdir(Path(sys.executable).parents[2])
    assert console.command().endswith(".venv/bin/rescore")


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


def test_an_interrupted_command_says_so(
    run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rescore.compiler.apply.backfill", interrupt)
        done = run("apply", shop)
    assert (done.code, done.out) == (130, "")
    assert "rescore: interrupted" in done.err and "it goes on where it stopped" in done.err
    assert run("apply", shop).out.startswith("count 200 customers from their events")


def test_an_interrupted_sweep_names_the_command_that_goes_on(
    run: Run, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run("apply", shop)
    with monkeypatch.context() as patch:
        patch.setattr("rescore.trainer.operations.sweep_profile", interrupt)
        done = run("train", "churn", "--publish")
    assert (done.code, "published as version 1" in done.out) == (130, True)
    assert "the version serves; `rescore sweep customers` does the rest" in done.err
    with monkeypatch.context() as patch:
        patch.setattr("rescore.trainer.quality.by_version", interrupt)
        done = run("quality")
    assert (done.code, done.err) == (130, "rescore: interrupted\n")


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
    assert list(found) == ["connection", "server", "schema"], "nothing to say of what is not there"


def test_the_doctor_tells_what_health_finds(run: Run, shop: Path) -> None:
    run("apply", shop)
    run("pause", "customers", "--reason", "a move")
    done = run("doctor", "--json")
    found = {row["check"]: row for row in done.json}
    assert done.code == 1
    assert found["paused"]["result"] == "wrong"
    assert "rescore resume" in found["paused"]["detail"]
    assert found["champions"]["result"] == "warning", "no version serves yet"
    assert run("status", "--json").json[0]["paused"]
    assert "paused" in run("status").out


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
