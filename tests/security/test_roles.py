"""Who may do what: the matrix of roles and objects, and each role doing its work and no more."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rescore import cli
from rescore.compiler.apply import plan
from rescore.compiler.definition import parse
from rescore.tests.security.conftest import DEFINITION, Connection, Stage
from rescore.tests.support import define, one, publish
from rescore.trainer import operations as ops
from rescore.trainer.ledger import Ledger, State
from rescore.trainer.train import train

HERE = Path(__file__).parent
GOLDEN = HERE / "privileges.txt"
ROLES = ["public", "app", "rescore_reader", "rescore_trainer", "rescore_admin", "app_owner"]
DENIED = psycopg.errors.InsufficientPrivilege


def matrix(conn: Connection) -> str:
    """Return who may do what, as aligned text: PUBLIC, an application, the group roles, the owner."""
    query = (HERE / "privileges.sql").read_bytes()
    rows = conn.execute(query, {"roles": ROLES}).fetchall()
    table = [["object", *ROLES], *([shown, *rights] for shown, rights in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def test_privileges_are_those_of_the_golden_file(stage: Stage) -> None:
    """Write the file anew with ``RESCORE_REWRITE=1``, and read the difference before committing it."""
    found = matrix(stage.connect())
    if "RESCORE_REWRITE" in os.environ:
        GOLDEN.write_text(found, "utf-8")
    assert found == GOLDEN.read_text("utf-8")


def denied(conn: Connection, *statements: str) -> None:
    for statement in statements:
        with pytest.raises(DENIED):
            conn.execute(statement.encode())


def test_an_application_needs_insert_on_its_own_tables_and_nothing_else(stage: Stage) -> None:
    app = stage.connect("app")
    order = "INSERT INTO shop.orders (customer_id, amount, kind) VALUES "
    app.execute(f"{order} (1, 10, 'web')".encode())
    app.execute(f"{order} (2, 5, 'gift'), (3, 7, 'store')".encode())
    with app.cursor().copy("COPY shop.orders (customer_id, amount) FROM STDIN") as copy:
        copy.write_row((1, 3))
    app.execute("INSERT INTO shop.clicks VALUES (7), (7)")
    app.execute("INSERT INTO shop.sessions VALUES (7, 1)")
    query = "SELECT customer_id, orders, spend, clicks, churn_score IS NOT NULL FROM shop.customers"
    found = stage.connect().execute(f"{query} WHERE customer_id < 9 ORDER BY 1".encode())
    assert found.fetchall() == [(1, 2, 10, 2, True), (2, 1, 0, 0, True), (3, 1, 7, 0, True)]
    assert one(stage.connect(), "SELECT count(*) FROM rescore.incident_log") == 0
    denied(
        app,
        "SELECT * FROM shop.customers",
        "UPDATE shop.customers SET churn_score = 0",
        "SELECT rescore.predict_key('churn', 1)",
        "SELECT rescore_compiled.churn_version()",
        "SELECT * FROM rescore.health",
    )


def test_triggers_of_an_owner_without_rights_do_all_their_work(stage: Stage) -> None:
    """Scored by Python too: the owner of the tables owns nothing else of rescore."""
    root, owner = stage.connect(), stage.connect("app_owner")
    define(root, DEFINITION.replace("features: all", "features: all, engine: python"))
    publish(root, seed=3)
    owner.execute("INSERT INTO shop.sessions VALUES (1, 1), (2, 2)")
    owner.execute("INSERT INTO shop.clicks SELECT 1 + i % 2 FROM generate_series(1, 9) AS i")
    owner.execute("INSERT INTO shop.orders (customer_id, amount) VALUES (1, 5), (2, 6), (102, 7)")
    owner.execute("UPDATE shop.orders SET amount = amount + 1, customer_id = 102 WHERE amount = 5")
    owner.execute("UPDATE shop.sessions SET customer_id = 103 WHERE session_id = 2")
    owner.execute("DELETE FROM shop.customers WHERE customer_id IN (104, 105)")
    owner.execute("INSERT INTO shop.orders (customer_id) VALUES (104)")
    owner.execute("UPDATE shop.customers SET plan = 'pro' WHERE customer_id = 106")
    owner.execute("DELETE FROM shop.orders WHERE customer_id = 107")
    owner.execute("TRUNCATE shop.clicks")
    assert root.execute("SELECT * FROM rescore.verify('shop.customers')").fetchall() == []
    assert one(root, "SELECT count(*) FROM rescore.incident_log") == 0
    assert one(root, "SELECT rescore.rebuild('shop.customers')") == 0
    unscored = "SELECT count(*) FROM shop.customers WHERE churn_score_version IS DISTINCT FROM 2"
    root.execute("CALL rescore.sweep('shop.customers', '0')")
    assert one(root, unscored) == 0


def test_readers_score_and_read_and_no_more(stage: Stage) -> None:
    viewer = stage.connect("viewer")
    for query in (
        "SELECT rescore.predict('churn', p) FROM shop.customers AS p WHERE customer_id = 101",
        "SELECT rescore.predict_key('churn', 101)",
        "SELECT rescore.predict_key('churn', 101, '{\"plan\": \"pro\"}')",
        "SELECT rescore.predict_payload('churn', '{\"orders\": 3}')",
        "SELECT sum(contribution) FROM rescore.explain('churn', 101)",
        "SELECT churn_score FROM shop.customers WHERE customer_id = 101",
        "SELECT count(*) FROM rescore.health, rescore.model_version, rescore.model_quality",
    ):
        assert one(viewer, query) is not None, query
    denied(
        viewer,
        "SELECT * FROM rescore.models",
        "SELECT * FROM rescore.profiles",
        "SELECT * FROM rescore.incidents",
        "SELECT * FROM rescore.verify('shop.customers')",
        "SELECT rescore.promote('churn', 1)",
        "CALL rescore.sweep('shop.customers')",
        "SELECT rescore_compiled.shop_customers__keys(NULL, 9)",
        "SELECT rescore_compiled.shop_customers__recompute('{101}')",
        "SELECT rescore._incident('p', 'm', 1, '00000', 'x', 'y')",
        "DELETE FROM rescore.removed_keys",
        "CREATE TABLE rescore.mine ()",
        "CREATE FUNCTION rescore_compiled.churn_v9() RETURNS int RETURN 1",
    )


def test_readers_are_told_which_job_fails_but_not_what_its_error_quotes(stage: Stage) -> None:
    learner, viewer = stage.connect("learner"), stage.connect("viewer")
    assert Ledger(["learn"]).note(learner, "learn", State("key 17 of Ada", 3)) == {}
    health = "SELECT detail FROM rescore.health WHERE \"check\" = 'runner'"
    assert "job learn fails since" in one(viewer, health)
    assert "Ada" not in one(viewer, health)
    assert "Ada" in one(learner, health)
    denied(viewer, "SELECT * FROM rescore.runner_jobs")


def test_trainers_learn_and_publish_through_functions_only(stage: Stage) -> None:
    learner = stage.connect("learner")
    made = train(learner, "churn", moments="monthly", publish=True)
    assert one(stage.connect(), "SELECT champion FROM rescore.deployments") == made.version == 2
    assert ops.rollback(learner, "churn") == 1
    assert ops.promote(learner, "churn", 2) == 2
    ops.sweep_model(learner, "shop.customers")
    largest = ops.verify_model(learner, "churn")
    assert largest is not None
    assert largest < 1e-9
    assert [each["version"] for each in ops.models(learner)] == [2, 1]
    assert one(learner, "SELECT count(*) FROM shop.customers WHERE churn_score_version = 2") == 60
    denied(
        learner,
        "UPDATE rescore.deployments SET champion = 1",
        "INSERT INTO rescore.models SELECT * FROM rescore.models",
        "DELETE FROM rescore.deployment_history",
        "SELECT nextval('rescore_compiled.churn_version_seq')",
        "SELECT rescore._prove('', 'joblib', '{}', 5, NULL)",
        "SELECT rescore._create_router('churn')",
        "SELECT rescore.rebuild('shop.customers')",
        "UPDATE shop.customers SET churn_score = 0",
        "INSERT INTO shop.orders VALUES (101)",
    )


def test_administrators_who_act_for_the_owner_define(stage: Stage) -> None:
    chief = stage.connect("chief")
    define(chief, DEFINITION + "  second: {model: churn}\n")
    publish(chief, seed=5)
    assert one(chief, "SELECT rescore.rebuild('shop.customers')") == 60
    assert chief.execute("SELECT * FROM rescore.verify('shop.customers')").fetchall() == []
    chief.execute("CALL rescore.sweep('shop.customers', '0')")
    stage.connect("app").execute("INSERT INTO shop.orders (customer_id, amount) VALUES (1, 2)")
    again = plan(chief, parse(DEFINITION + "  second: {model: churn}\n"))
    assert again.empty
    assert strangers_rights(chief) == []


def test_a_stranger_sees_nothing(stage: Stage) -> None:
    stranger = stage.connect("stranger")
    denied(
        stranger,
        "SELECT * FROM rescore.health",
        "SELECT rescore.clock()",
        "SELECT rescore.predict_payload('churn', '{}')",
        "SELECT rescore_compiled.churn_version()",
    )


def strangers_rights(conn: Connection) -> list[str]:
    """What PUBLIC may do with anything of rescore."""
    query = (
        "SELECT o.shown FROM rescore._objects() AS o, aclexplode(o.acl) AS a WHERE a.grantee = 0"
    )
    return [shown for (shown,) in conn.execute(query.encode())]


def called(
    stage: Stage,
    user: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
) -> tuple[int, str, str]:
    """The command line as one of the people: its exit code, output and errors."""
    monkeypatch.setenv("RESCORE_DSN", make_conninfo(stage.dsn, user=user))
    monkeypatch.setattr("sys.argv", ["rescore", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0), *capsys.readouterr()
    return 0, *capsys.readouterr()


def test_readers_are_shown_the_whole_status_and_all_versions(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (["status"], ["status", "--json"], ["models", "--json"], ["doctor", "--json"])
    for command in (*told, ["quality"], ["quality", "churn"], ["quality", "--weeks", "--json"]):
        code, seen, err = called(stage, "viewer", capsys, monkeypatch, *command)
        assert (code, err) == (0, ""), command
        if command[0] != "doctor":
            assert seen == called(stage, "chief", capsys, monkeypatch, *command)[1]
        else:
            assert "not looked at: permission denied for table incident_log; members of" in seen


@pytest.mark.parametrize(
    ("user", "role", "commands"),
    [
        (
            "viewer",
            "rescore_trainer",
            "drift churn; compare churn 1; uplift churn; quarantine; verify-model churn; learn churn; "
            "train churn; promote churn 1; sweep shop.customers; snapshot shop.customers; run --once",
        ),
        (
            "viewer",
            "rescore_admin",
            "verify shop.customers; rebuild shop.customers; forget shop.customers 101; keys list; "
            "pause shop.customers; resume shop.customers",
        ),
        ("learner", "rescore_admin", "verify shop.customers; pause shop.customers; keys list"),
    ],
)
def test_who_may_not_is_told_which_role_may(
    stage: Stage,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    role: str,
    commands: str,
) -> None:
    for command in commands.split("; "):
        code, out, err = called(stage, user, capsys, monkeypatch, *command.split())
        assert (code, out) == (1, ""), command
        assert err.startswith("rescore: permission denied for"), command
        assert f"HINT: members of {role} may: connect as one" in err, command
        assert f'GRANT {role} TO "{user}";' in err, command


def test_who_may_not_read_a_table_of_the_users_own_is_sent_to_its_owner(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.connect().execute("REVOKE SELECT ON shop.orders FROM learner")
    code, _, err = called(stage, "learner", capsys, monkeypatch, "train", "churn")
    assert code == 1
    assert "permission denied for table orders" in err
    assert "ask the owner of the table or schema for a grant" in err
