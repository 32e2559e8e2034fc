"""How many different values: what counts as one, the same state in any order, how near it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescore.compiler.apply import plan
from rescore.compiler.definition import parse
from rescore.errors import DoesNotFit
from rescore.tests.support import define, one, open_profile, publish

Connection = psycopg.Connection[Any]

TYPES = {
    "bigint": "1, 1, 2, -1",
    "numeric": "1.0, 1.00, 100, 1e2, 'NaN', 'NaN', 'Infinity'",
    "double precision": "0, '-0', 1.1, 'NaN', '-NaN', 'Infinity', '-Infinity'",
    "real": "0, '-0', 1.1, 1.1000001",
    "boolean": "true, false, true",
    "text": "'a', 'A', 'ä', '', 'a '",
    "character(3)": "'a', 'a ', 'b'",
    "character varying(9)": "'a', 'a ', 'b'",
    "mood": "'sad', 'ok', 'sad'",
    "code": "'x', 'y', 'x'",
    "uuid": "'00000000-0000-0000-0000-000000000001', '{00000000000000000000000000000001}'",
    "date": "'2024-01-31', 'infinity', '2024-01-31'",
    "time": "'12:00', '12:00:00', '24:00'",
    "timestamp": "'2024-01-31', '-infinity', '2024-01-31 00:00'",
    "timestamptz": "'2024-01-31 00:00+00', '2024-01-31 01:00+01', 'infinity'",
    "interval": "'1 month', '30 days', '1 day', '24:00'",
    "jsonb": """'{"a": 1.0}', '{"a": 1.00}', '[]', 'null'""",
    "bytea": "'\\x00', 'abc', ''",
    "inet": "'10.0.0.1', '10.0.0.1/32', '::1'",
}
"""A list of values of each type, some of them equal."""

SETTINGS = """SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kolkata'; SET extra_float_digits = -9;
    SET bytea_output = 'escape'; SET IntervalStyle = 'sql_standard'; SET search_path = pg_catalog"""


def features(names: dict[str, str]) -> str:
    """A definition with a feature for each of these columns."""
    lines = (f"  {name}: {{from: visits, distinct: {column}}}" for name, column in names.items())
    return f"""
profile: {{table: p, key: {{name: customer_id, type: bigint}}}}
events: {{visits: {{}}}}
features:
{chr(10).join(lines)}
models: {{churn: {{features: all}}}}
scores: {{churn_score: {{model: churn}}}}
"""


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with open_profile(
        dsn,
        "CREATE TABLE visits (id bigserial, customer_id bigint, page int)",
        features({"pages": "page"}),
    ) as made:
        yield made


def right(conn: Connection) -> bool:
    return bool(one(conn, "SELECT count(*) = 0 FROM rescore.verify('p')"))


def test_values_of_every_type_are_equal_as_their_type_says(dsn: str) -> None:
    names = {f"f{n}": f"c{n}" for n in range(len(TYPES))}
    columns = ", ".join(f"c{n} {type_}" for n, type_ in enumerate(TYPES))
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(b"CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN code AS varchar(5)")
        conn.execute(f"CREATE TABLE visits (customer_id bigint, {columns})".encode())
        define(conn, features(names))
        publish(conn)
        for session in ("", SETTINGS):
            conn.execute(session.encode())
            for name, values in zip(names.values(), TYPES.values(), strict=True):
                for value in ("NULL", *values.split(", ")):
                    row = f"INSERT INTO public.visits (customer_id, {name}) VALUES (1, {value})"
                    conn.execute(row.encode())
            shown = one(conn, f"SELECT {', '.join(names)} FROM public.p")
            wanted = ", ".join(f"count(DISTINCT {c})" for c in names.values())
            assert shown == one(conn, f"SELECT {wanted} FROM public.visits")
            assert right(conn)


@given(
    st.lists(st.integers(0, 150), min_size=1, max_size=250),
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
@settings(max_examples=20)
def test_the_same_values_make_the_same_bytes(
    conn: Connection, pages: list[int], sizes: list[int], chance: Any
) -> None:
    conn.execute("TRUNCATE visits, p")
    insert = "INSERT INTO visits (customer_id, page) SELECT %s, unnest(%s::int[])"
    conn.execute(insert, (1, pages))
    shuffled = [*pages, *chance.choices(pages, k=20)]
    chance.shuffle(shuffled)
    while shuffled:
        size = chance.choice([*sizes, 1])
        conn.execute(insert, (2, shuffled[:size]))
        del shuffled[:size]
    conn.execute(insert, (3, [*pages, *range(1000, 1200)]))
    conn.execute("DELETE FROM visits WHERE customer_id = 3 AND page >= 1000")
    same = "SELECT count(DISTINCT pages__hll::text), count(DISTINCT churn_score) FROM p"
    assert one(conn, same) == (1, 1)
    assert right(conn)
    if len(set(pages)) <= 64:
        assert one(conn, "SELECT pages FROM p WHERE customer_id = 2") == len(set(pages))


def test_how_near_the_estimate_is_and_how_wide_the_row(conn: Connection) -> None:
    conn.execute("""INSERT INTO visits (customer_id, page)
        SELECT n, i FROM unnest(ARRAY[1, 64, 100, 1000, 20000]) AS n, generate_series(1, n) AS i""")
    rows = conn.execute("SELECT customer_id, pages, pg_column_size(pages__hll) FROM p ORDER BY 1")
    for wanted, found, width in rows.fetchall():
        assert found == wanted if wanted <= 64 else abs(found / wanted - 1) < 0.1
        assert width <= (8 * wanted + 8 if wanted <= 64 else 660)
    assert right(conn)


def test_a_customer_without_values_has_none(conn: Connection) -> None:
    conn.execute("INSERT INTO p (customer_id) VALUES (1)")
    conn.execute("INSERT INTO visits (customer_id, page) VALUES (2, NULL)")
    assert conn.execute("SELECT pages, pages__hll FROM p").fetchall() == [(0, None), (0, None)]
    conn.execute("INSERT INTO visits (customer_id, page) VALUES (2, 7), (2, 8)")
    conn.execute("UPDATE visits SET page = 7")
    assert one(conn, "SELECT pages FROM p WHERE customer_id = 2") == 1
    conn.execute("TRUNCATE visits")
    assert one(conn, "SELECT sum(pages), count(pages__hll) FROM p") == (0, 0)
    assert right(conn)


def test_other_sketches_of_a_session_change_nothing(dsn: str) -> None:
    with open_profile(
        dsn,
        "CREATE TABLE visits (customer_id bigint, page int)",
        features({"pages": "page"}),
        serving=False,
    ) as conn:
        conn.execute("SELECT hll_set_defaults(15, 6, 0, 0)")
        conn.execute("INSERT INTO visits VALUES (1, 1)")
        conn.execute("INSERT INTO visits SELECT 1, generate_series(1, 90)")
        assert abs(one(conn, "SELECT pages FROM p") - 90) < 9
        assert right(conn)


def test_types_that_cannot_be_hashed_are_refused(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for n, type_ in enumerate(["money", "tsvector", "bit(3)", "xml", "int[]"]):
            conn.execute(f"CREATE TABLE visits{n} (customer_id bigint, page {type_})".encode())
            with pytest.raises(DoesNotFit, match='column "page" is of type'):
                define(conn, features({"pages": "page"}).replace("visits", f"visits{n}"))


def test_a_database_without_the_extension_is_told_what_to_do(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE visits (customer_id bigint, page int); DROP EXTENSION hll")
        definition = parse(features({"pages": "page"}))
        ways: list[Callable[[], object]] = [
            lambda: plan(conn, definition),
            lambda: define(conn, features({"x": "page"})),
        ]
        for refused in ways:
            with pytest.raises(DoesNotFit, match="`distinct` needs the extension hll") as caught:
                refused()
            assert "postgresql-15-hll" in caught.value.hint
            assert "CREATE EXTENSION hll" in caught.value.hint
        assert one(conn, "SELECT to_regclass('p')") is None
