"""As whom triggers run, who owns what, and what becomes of the group roles."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rescore.compiler.apply import plan
from rescore.compiler.definition import parse
from rescore.errors import NotAllowed
from rescore.sql.install import install
from rescore.tests.security.conftest import DEFINITION, Connection, Stage
from rescore.tests.support import define, one, publish
from rescore.trainer.doctor import examine

TABLES = ("customers", "orders", "clicks", "sessions")
SUMMARY = """
profile: {table: shop.summary, key: {name: customer_id, type: bigint}}
events: {orders: {table: shop.orders, time: ordered_at}}
features: {orders: {from: orders, count: true}}
"""


def definers(conn: Connection) -> set[str]:
    """Owners of the functions that run as their owner."""
    rows = conn.execute("SELECT DISTINCT owner::regrole::text FROM rescore._definers()")
    return {owner for (owner,) in rows}


def give(conn: Connection, owner: str, *tables: str) -> None:
    for table in tables:
        conn.execute(f"ALTER TABLE shop.{table} OWNER TO {owner}".encode())


def refusal(conn: Connection) -> NotAllowed:
    with pytest.raises(NotAllowed) as caught:
        plan(conn, parse(DEFINITION))
    return caught.value


def test_triggers_run_as_the_owner_of_the_profile_table(stage: Stage) -> None:
    root = stage.connect()
    assert definers(root) == {"app_owner"}
    query = """SELECT count(*) FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
               WHERE t.tgrelid::regclass::text LIKE 'shop.%' AND p.prosecdef AND p.proowner <> 'app_owner'::regrole"""
    assert one(root, query) == 0
    assert one(root, "SELECT count(*) FROM rescore._definers()") > 20


def test_what_others_call_checks_that_it_runs_as_its_owner(stage: Stage) -> None:
    query = """SELECT count(*), bool_and(p.prosrc LIKE '%current_user OPERATOR(pg_catalog.<>)%')
               FROM pg_proc AS p
               WHERE p.pronamespace = 'rescore_compiled'::regnamespace AND p.prosecdef
                 AND p.prorettype <> 'trigger'::regtype
                 AND (SELECT bool_or(a.grantee <> p.proowner) FROM aclexplode(p.proacl) AS a)"""
    called, guarded = one(stage.connect(), query)
    assert called > 5
    assert guarded


def test_tables_of_an_owner_who_is_not_trusted_are_refused(stage: Stage) -> None:
    root = stage.connect()
    give(root, "stranger", "clicks")
    refused = refusal(root)
    assert refused.message == "table shop.clicks belongs to stranger, its profile to app_owner"
    assert "GRANT app_owner TO stranger;" in refused.hint
    assert "GRANT SELECT ON shop.clicks TO app_owner;" in refused.hint
    root.execute("GRANT app_owner TO stranger")
    try:
        assert refusal(root).message == "app_owner may not read table shop.clicks"
        root.execute("GRANT SELECT ON shop.clicks TO app_owner")
        assert plan(root, parse(DEFINITION)).empty
    finally:
        root.execute("REVOKE app_owner FROM stranger")


def test_tables_whose_rows_the_owner_would_not_see_are_refused(stage: Stage) -> None:
    root = stage.connect()
    root.execute("ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY")
    assert plan(root, parse(DEFINITION)).empty
    root.execute("ALTER TABLE shop.customers FORCE ROW LEVEL SECURITY")
    assert "row-level security would keep rows of table shop.customers" in refusal(root).message


def test_links_of_another_owner_must_be_lockable(stage: Stage) -> None:
    root = stage.connect()
    give(root, "rescore", "sessions")
    root.execute("GRANT SELECT ON shop.sessions TO app_owner")
    assert refusal(root).message == "app_owner may not read and lock table shop.sessions"
    root.execute("GRANT UPDATE ON shop.sessions TO app_owner")
    assert plan(root, parse(DEFINITION)).empty
    stage.connect("app").execute("INSERT INTO shop.sessions VALUES (7, 1)")
    stage.connect("app").execute("INSERT INTO shop.clicks VALUES (7)")
    assert one(root, "SELECT clicks FROM shop.customers WHERE customer_id = 1") == 1


def test_a_new_owner_of_the_tables_gets_the_functions_with_the_next_apply(stage: Stage) -> None:
    root = stage.connect()
    root.execute("GRANT USAGE ON SCHEMA shop TO stranger")
    give(root, "stranger", *TABLES)
    row = next(each for each in examine(stage.dsn) if each["check"] == "owners")
    assert row["result"] == "wrong"
    assert "triggers of shop.customers run as app_owner" in row["detail"]
    made = define(root, DEFINITION)
    assert made.changes == ["give functions and triggers to stranger"]
    assert definers(root) == {"stranger"}
    stage.connect("app").execute("INSERT INTO shop.orders (customer_id, amount) VALUES (1, 2)")
    assert one(root, "SELECT orders FROM shop.customers WHERE customer_id = 1") == 1
    assert define(root, DEFINITION).empty


def test_a_new_profile_table_is_its_event_owners_and_readers_may_read_it(stage: Stage) -> None:
    root = stage.connect()
    define(root, SUMMARY)
    assert definers(root) == {"app_owner"}
    owner = "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'shop.summary'::regclass"
    assert one(root, owner) == "app_owner"
    assert one(stage.connect("viewer"), "SELECT count(*) FROM shop.summary") == 60


def test_who_neither_owns_nor_administers_cannot_apply(stage: Stage) -> None:
    for user in ("app_owner", "learner", "stranger"):
        with pytest.raises((NotAllowed, psycopg.errors.InsufficientPrivilege)):
            define(stage.connect(user), SUMMARY)
    root = stage.connect()
    assert one(root, "SELECT to_regclass('shop.summary')") is None


def test_no_function_of_rescore_runs_as_a_superuser(stage: Stage) -> None:
    """Not those in Python either: who owns the schema can replace what they call."""
    query = """SELECT count(*), count(*) FILTER (WHERE l.lanname = 'plpython3u'), bool_or(r.rolsuper)
               FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner JOIN pg_language AS l ON l.oid = p.prolang
               WHERE p.pronamespace::regnamespace::text ~ '^rescore' """
    functions, in_python, of_superusers = one(stage.connect(), query)
    assert functions > 150
    assert in_python >= 5
    assert not of_superusers
    table = (
        "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'rescore.python_path'::regclass"
    )
    assert one(stage.connect(), table) == "rescore"


def test_installing_again_keeps_grants_by_name_and_takes_those_to_everybody(stage: Stage) -> None:
    root = stage.connect()
    root.execute("GRANT SELECT ON rescore.health TO stranger")
    root.execute("GRANT SELECT ON rescore.models TO PUBLIC, rescore_reader")
    root.execute("GRANT EXECUTE ON FUNCTION rescore.promote TO PUBLIC")
    install(stage.dsn)
    query = """SELECT has_table_privilege('stranger', 'rescore.health', 'SELECT'),
                      has_table_privilege('rescore_reader', 'rescore.models', 'SELECT'),
                      has_function_privilege('app', 'rescore.promote(text, int, text, jsonb)', 'EXECUTE')"""
    assert one(root, query) == (True, False, False)


def test_uninstalling_leaves_the_roles_free_of_this_database(stage: Stage) -> None:
    root = stage.connect()
    define(root, SUMMARY)
    root.execute("DROP SCHEMA rescore, rescore_compiled CASCADE")
    root.execute("DROP OWNED BY rescore_reader, rescore_trainer, rescore_admin")
    query = """SELECT count(*) FROM pg_shdepend AS d JOIN pg_database AS b ON b.oid = d.dbid
               WHERE b.datname = current_database() AND d.refclassid = 'pg_authid'::regclass
                 AND d.refobjid::regrole::text LIKE 'rescore\\_%'"""
    assert one(root, query) == 0
    stage.connect("app").execute("INSERT INTO shop.orders (customer_id, amount) VALUES (1, 2)")


def test_only_a_superuser_replaces_what_runs_as_the_servers_account(stage: Stage) -> None:
    with pytest.raises(NotAllowed, match="only a superuser replaces"):
        install(make_conninfo(stage.dsn, user="chief"))


def test_administrators_install_where_there_is_no_python(people: None, plain_dsn: str) -> None:
    with psycopg.connect(make_conninfo(plain_dsn, user="rescore"), autocommit=True) as root:
        root.execute("GRANT rescore_admin TO rescore_plain")
        try:
            install(plain_dsn)
            owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'rescore'"
            assert one(root, owner) == "rescore_admin"
            report = install(make_conninfo(plain_dsn, user="chief"))
            assert report.before == report.after
            query = "SELECT DISTINCT owner::regrole::text FROM rescore._objects()"
            assert root.execute(query.encode()).fetchall() == [("rescore_admin",)]
        finally:
            root.execute("REVOKE rescore_admin FROM rescore_plain")


@pytest.fixture
def no_roles(stage: Stage) -> Iterator[Connection]:
    """The server as if no installation had made the roles; those made meanwhile are dropped."""
    root = stage.connect()
    names = ("rescore_reader", "rescore_trainer", "rescore_admin")
    for name in names:
        root.execute(f"ALTER ROLE {name} RENAME TO {name}_away".encode())
    yield root
    for name in names:
        if one(root, "SELECT to_regrole(%s)", name):
            root.execute(f"DROP OWNED BY {name}".encode())
            root.execute(f"DROP ROLE {name}".encode())
        root.execute(f"ALTER ROLE {name}_away RENAME TO {name}".encode())


def test_who_may_not_create_roles_is_told_what_to_run(no_roles: Connection, plain_dsn: str) -> None:
    told = install(plain_dsn).missing[-1]
    assert "there is no role rescore_reader, rescore_trainer, rescore_admin" in told
    statement = told.partition("run `")[2].partition("`")[0]
    no_roles.execute(statement.encode())
    assert not any("role" in each for each in install(plain_dsn).missing)
    with psycopg.connect(make_conninfo(plain_dsn, user="rescore")) as conn:
        conn.execute("SET ROLE rescore_reader")
        assert one(conn, "SELECT count(*) FROM rescore.health") > 0
        conn.execute("RESET ROLE")
        conn.execute("DROP OWNED BY rescore_reader, rescore_trainer, rescore_admin")


def test_a_login_of_the_same_name_is_given_nothing(no_roles: Connection, stage: Stage) -> None:
    no_roles.execute("CREATE ROLE rescore_reader LOGIN")
    report = install(stage.dsn)
    assert "the role rescore_reader can log in" in report.missing[0]
    row = next(each for each in examine(stage.dsn) if each["check"] == "roles")
    assert (row["result"], "rescore_reader can log in" in row["detail"]) == ("missing", True)
    query = "SELECT has_schema_privilege(%s, 'rescore', 'USAGE')"
    assert not one(no_roles, query, "rescore_reader")
    assert one(no_roles, query, "rescore_trainer")
    no_roles.execute("ALTER ROLE rescore_reader NOLOGIN")


APART = """
CREATE SCHEMA "Ops"; CREATE SCHEMA sales; CREATE SCHEMA hr;
CREATE TABLE "Ops"."Couriers" ("CourierId" uuid PRIMARY KEY);
CREATE TABLE sales."Orders" ("CourierId" uuid, "At" timestamp) PARTITION BY RANGE ("At");
CREATE TABLE sales."Orders 2024" PARTITION OF sales."Orders" FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE hr.departures (courier uuid, left_at timestamp);
INSERT INTO "Ops"."Couriers" SELECT gen_random_uuid() FROM generate_series(1, 20);
INSERT INTO sales."Orders" SELECT "CourierId", '2024-02-01' FROM "Ops"."Couriers";
"""
COURIERS = """
profile: {table: '"Ops"."Couriers"', name: couriers, key: {name: CourierId, type: uuid}}
events:
  orders: {table: sales."Orders", time: At}
  departures: {table: hr.departures, time: left_at, key: courier}
features: {orders: {from: orders, count: true}}
labels: {leaves: {any: departures, within: 1 day}}
models: {leaving: {label: leaves}}
scores: {leave_score: {model: leaving}}
snapshot: {every: 1 day}
"""


def test_event_tables_in_schemas_that_the_owner_of_rescore_may_not_use(stage: Stage) -> None:
    root, viewer = stage.connect(), stage.connect("viewer")
    root.execute(APART.encode())
    define(root, COURIERS)
    publish(root, "leaving")
    assert not one(root, "SELECT has_schema_privilege('rescore_admin', 'sales', 'USAGE')")
    unwell = "SELECT \"check\", detail FROM rescore.health WHERE status = 'error'"
    assert viewer.execute(unwell.encode()).fetchall() == []
    root.execute("CALL rescore.log_snapshots('couriers')")
    assert one(root, "SELECT count(*) FROM rescore.snapshots WHERE model = 'leaving'") == 20
    root.execute('CREATE TABLE sales.new PARTITION OF sales."Orders" DEFAULT')
    root.execute("CALL rescore.sweep('couriers')")
    root.execute('ALTER TABLE sales."Orders" DETACH PARTITION sales."Orders 2024"')
    root.execute("DROP TABLE hr.departures")
    told = {detail for check, detail in viewer.execute(unwell.encode()) if check == "tables"}
    assert 'partition sales."Orders 2024" of sales."Orders" was detached' in str(told)
    assert "table hr.departures is gone" in str(told)
