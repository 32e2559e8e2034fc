"""What owners of tables, creators of objects and sessions put in the way runs as nobody else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rescore.compiler.apply import plan
from rescore.compiler.definition import parse
from rescore.errors import RescoreError
from rescore.sql.install import install
from rescore.tests.security.conftest import DEFINITION, Connection, Stage
from rescore.tests.support import define, one, publish
from rescore.trainer import operations as ops
from rescore.trainer.database import connect
from rescore.trainer.doctor import examine

ATTACKS = dict(
    part.split("\n", 1)
    for part in Path(__file__).with_name("attacks.sql").read_text("utf-8").split("-- name: ")[1:]
)
CHANGED = DEFINITION.replace("  plan: {", "  smallest: {from: orders, min: amount}\n  plan: {")
READ = (
    "SELECT rescore.predict('churn', p) FROM shop.customers AS p",
    "SELECT rescore.predict_key('churn', 101), rescore.predict_key('churn', '101')",
    "SELECT rescore.predict_key('churn', 101, '{\"orders\": 3}', '2025-01-01 00:00+00')",
    "SELECT rescore.predict_payload('churn', '{\"orders\": 3}')",
    "SELECT * FROM rescore.explain('churn', 101)",
    "SELECT rescore.verify_model('churn')",
    "SELECT * FROM rescore.health, rescore.model_version",
)
ORDER = "INSERT INTO {} (customer_id, amount, kind) VALUES "


@dataclass
class Watch:
    """Who ran what of the attacker's, as the warnings of all sessions tell."""

    stage: Stage
    loot: set[tuple[str, str]] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def session(self, user: str = "rescore") -> Connection:
        """A session whose warnings are collected, opened as the command line opens one."""
        conn = connect(psycopg.conninfo.make_conninfo(self.stage.dsn, user=user))
        conn.add_notice_handler(self._note)
        return self.stage.open.enter_context(conn)

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        words = (notice.message_primary or "").split(" ", 2)
        if words[0] == "loot":
            self.loot.add((words[1], words[2]))

    def thieves(self) -> set[str]:
        return {who for who, _ in self.loot}

    def kinds(self, who: str) -> set[str]:
        return {
            what.rstrip("0123456789.:+- ").split(" 20")[0] for by, what in self.loot if by == who
        }

    def attempt(self, action: Any, *given: Any, **options: Any) -> None:
        """Do it; an error is noted, and no reason to stop."""
        try:
            action(*given, **options)
        except (psycopg.Error, RescoreError) as error:
            self.failures.append(str(error).splitlines()[0])


@pytest.fixture
def watch(stage: Stage) -> Watch:
    stage.connect().execute(ATTACKS["loot"].encode())
    return Watch(stage)


def attack(stage: Stage, name: str, user: str = "app_owner") -> None:
    stage.connect(user).execute(ATTACKS[name].encode())


def use_as_application(watch: Watch, orders: str = "shop.orders") -> None:
    app, owner = watch.session("app"), watch.session("app_owner")
    order = ORDER.format(orders)
    for values in ("(1, 10, 'web')", "(2, 5, 'gift'), (101, 7, 'store'), (102, 1, NULL)"):
        watch.attempt(app.execute, f"{order} {values}".encode())
    watch.attempt(app.execute, b"INSERT INTO shop.clicks VALUES (7), (7)")
    watch.attempt(app.execute, b"INSERT INTO shop.sessions VALUES (7, 1)")
    watch.attempt(owner.execute, f"DELETE FROM {orders} WHERE customer_id = 103".encode())
    watch.attempt(owner.execute, b"DELETE FROM shop.customers WHERE customer_id = 104")
    watch.attempt(app.execute, f"{order} (104, 1, 'web')".encode())


def use_as_superuser(watch: Watch) -> None:
    root = watch.session()
    watch.attempt(ops.verify, root, "shop.customers")
    watch.attempt(ops.rebuild, root, "shop.customers")
    watch.attempt(root.execute, b"CALL rescore.sweep('shop.customers', '0')")
    watch.attempt(publish, root, seed=9)
    watch.attempt(ops.rollback, root, "churn")
    watch.attempt(define, root, CHANGED)
    watch.attempt(ops.status, root)


def test_what_is_on_the_tables_runs_as_their_owner(watch: Watch) -> None:
    attack(watch.stage, "everything_on_the_tables")
    use_as_application(watch)
    use_as_superuser(watch)
    assert watch.thieves() == {"app_owner", "app"}
    expected = {
        "trigger shop.customers BEFORE ROW", "trigger shop.customers AFTER STATEMENT",
        "default", "domain", "generated north", "check", "index", "cast",
    }  # fmt: skip
    assert expected <= watch.kinds("app_owner")
    assert "event check" in watch.kinds("app")
    root = watch.session()
    assert one(root, "SELECT count(*) FROM shop.orders WHERE customer_id = 101") == 13


def test_deferred_triggers_run_as_who_sweeps_which_need_not_be_a_superuser(watch: Watch) -> None:
    """PostgreSQL runs them at commit, outside every function; since 18 as the role that queued them."""
    attack(watch.stage, "deferred_trigger")
    learner = watch.session("learner")
    publish(watch.session(), seed=8)
    learner.execute("CALL rescore.sweep('shop.customers', '0')")
    runs_as_committer = learner.info.server_version < 180000
    assert watch.thieves() == {"learner" if runs_as_committer else "app_owner"}
    watch.loot.clear()
    # The limit that docs/security.md tells of, and what says so where it applies.
    publish(watch.session(), seed=9)
    watch.session().execute("CALL rescore.sweep('shop.customers', '0')")
    assert ("rescore" in watch.thieves()) == runs_as_committer
    notes = plan(watch.session(), parse(DEFINITION)).notes
    assert any("took on shop.customers is deferred" in note for note in notes) == runs_as_committer
    row = next(each for each in examine(watch.stage.dsn) if each["check"] == "deferred")
    assert (row["result"] == "missing") == runs_as_committer


@pytest.mark.parametrize("swap", ["views_in_the_tables_place", "view_in_the_profiles_place"])
def test_views_in_the_tables_place_run_as_the_owner(watch: Watch, swap: str) -> None:
    attack(watch.stage, swap)
    renamed = swap == "views_in_the_tables_place"
    use_as_application(watch, "shop.real_orders" if renamed else "shop.orders")
    use_as_superuser(watch)
    assert watch.thieves() == {"app_owner"}


def test_functions_their_owner_altered_do_nothing_for_others(watch: Watch) -> None:
    attack(watch.stage, "altered_functions")
    root = watch.session()
    for call in ("keys(NULL, 9)", "recompute('{101}')", "come_back('{101}')", "differences()"):
        with pytest.raises(psycopg.Error) as caught:
            root.execute(f"SELECT rescore_compiled.shop_customers__{call}".encode())
        assert caught.value.sqlstate == "RS016", call
    use_as_superuser(watch)
    assert any("was altered" in failure for failure in watch.failures)
    assert watch.thieves() <= {"app_owner"}


def test_what_stands_in_front_is_not_used(watch: Watch) -> None:
    attack(watch.stage, "everything_in_front", "rescore")
    with psycopg.connect(watch.stage.dsn, autocommit=True) as conn:
        conn.add_notice_handler(watch._note)
        conn.execute("SELECT 1 = 1, now()")
    assert watch.kinds("rescore") == {"=(integer,integer)", "now"}
    watch.loot.clear()
    use_as_application(watch)
    use_as_superuser(watch)
    with psycopg.connect(watch.stage.dsn, autocommit=True) as reader:
        reader.add_notice_handler(watch._note)
        for query in READ:
            reader.execute(query.encode())
    assert not any(row["result"] == "wrong" for row in examine(watch.stage.dsn))
    install(watch.session())
    assert watch.loot == set()
    assert watch.failures == []


def test_sessions_and_temporary_tables_change_nothing(watch: Watch) -> None:
    app = watch.session("app")
    app.execute(ATTACKS["temporary_tables"].encode())
    app.execute(ATTACKS["session_settings"].encode())
    for values in ("(1, 10, 'web')", "(2, 5, 'gift'), (101, 7, 'store'), (102, 1, NULL)"):
        app.execute(sql.SQL(ORDER + values).format(sql.SQL("shop.orders")))
    app.execute("INSERT INTO shop.sessions VALUES (7, 1)")
    app.execute("INSERT INTO shop.clicks VALUES (7)")
    root = watch.session()
    assert root.execute("SELECT * FROM rescore.verify('shop.customers')").fetchall() == []
    assert one(root, "SELECT orders, spend, clicks FROM shop.customers WHERE customer_id = 1") == (
        1,
        10,
        1,
    )
    query = """SELECT max(abs(churn_score - rescore.predict('churn', p))) FROM shop.customers AS p
               WHERE customer_id IN (1, 2, 101, 102)"""
    assert one(root, query) < 1e-12
