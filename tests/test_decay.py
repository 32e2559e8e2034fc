"""What fades: totals, means and deviations whose weights halve, kept in the row."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from rescore.errors import DoesNotFit
from rescore.plpython.design import design_row
from rescore.tests.conftest import Address
from rescore.tests.support import contract_of, define, examples, one, open_profile, publish

Connection = psycopg.Connection[Any]
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
EVENTS = """
CREATE TABLE visits (k bigint, at timestamptz, wild double precision, calm numeric(9,3), few integer);
CREATE INDEX ON visits (k);
"""
DEFINITION = """
profile: {table: folk, key: {name: k, type: bigint}, clock: session}
events: {visits: {time: at}}
features:
FEATURES
models: {churn: {}}
scores: {churn_score: {model: churn}}
"""
LENGTHS = {
    "s": timedelta(seconds=1),
    "d": timedelta(days=14),
    "y": timedelta(days=36_500),
}


def text_of(features: dict[str, str]) -> str:
    """Return the definition with these features."""
    lines = "\n".join(f"  {name}: {{from: visits, {what}}}" for name, what in features.items())
    return DEFINITION.replace("FEATURES", lines)


def made(dsn: str, features: dict[str, str]) -> Connection:
    conn = psycopg.connect(dsn, autocommit=True)
    conn.execute("SET TimeZone = 'UTC'")
    conn.execute(EVENTS.encode())
    clock(conn, NOON)
    define(conn, text_of(features))
    return conn


def clock(conn: Connection, moment: datetime) -> None:
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [moment.isoformat()])


def row_of(conn: Connection, key: int) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cur:
        return cur.execute("SELECT * FROM folk WHERE k = %s", [key]).fetchone() or {}


# -- against a reference of sixty digits ---------------------------------------------------------

Numbers = list[tuple[datetime, Decimal]]


def weight(age: timedelta, length: timedelta) -> Decimal:
    return Decimal(2) ** (
        -Decimal(age // timedelta(microseconds=1)) / (length // timedelta(microseconds=1))
    )


def reference(found: Numbers, length: timedelta) -> dict[str, Any]:
    """Return total, mean and deviation as of the last number, and what rounding may change of them."""
    last = max(at for at, _ in found)
    weighed = [(weight(last - at, length), x) for at, x in found]
    nothing = Decimal(0)
    total = sum((w * x for w, x in weighed), nothing)
    count = sum((w for w, _ in weighed), nothing)
    mean = total / count
    squares = sum((w * (x - mean) ** 2 for w, x in weighed), nothing) / count
    gross = sum((w * abs(x) for w, x in weighed), nothing)
    return {
        "at": last,
        "count": count,
        "total": total,
        "mean": mean,
        "deviation": squares.sqrt() if len(found) > 1 else None,
        "gross": gross,
        "size": gross / count,
    }


def counted(events: Sequence[Any], column: int, zeros: bool) -> Numbers:
    """Return the numbers that count: none that are NULL, not finite or too large.

    Those below 1e-90 are 0, which adds nothing to a total but is a value of a mean.
    """
    finite = [
        (e[0], e[column]) for e in events if e[column] is not None and math.isfinite(e[column])
    ]
    found = [(at, Decimal(x if abs(x) >= 1e-90 else 0)) for at, x in finite if abs(x) <= 1e100]
    return [(at, x) for at, x in found if x or zeros]


def near(stored: float | None, expected: Decimal | None, size: Decimal) -> bool:
    """Whether nine digits are right: of the number, or of what it was made of where that is larger.

    A deviation can be the larger: one of 500,000 whose weight is 1e-12 has a mean of 1e-7 only.
    """
    if stored is None or expected is None:
        return stored is None and expected is None
    of = max(size, abs(expected))
    return abs(Decimal(stored) - expected) <= Decimal("1e-9") * of + Decimal("1e-98")


wild = st.one_of(
    st.none(),
    st.floats(-1000, 1000),
    st.sampled_from([1e100, -1e100, 1e-90, -1e-90, 1e-100, 1e308, -1e308, 1e-308, 5e-324, 0.0]),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e50, -1e-50]),
)
times = st.one_of(
    st.integers(0, 10**7).map(lambda n: NOON - timedelta(microseconds=n)),
    st.integers(0, 3000).map(lambda n: NOON - timedelta(seconds=n)),
    st.integers(0, 9000).map(lambda n: NOON - timedelta(days=n)),
    st.integers(0, 3).map(lambda n: NOON - timedelta(days=n)),
)
calm = st.one_of(st.none(), st.decimals(-99, 99, places=3), st.just(Decimal("500000.125")))
visits = st.lists(st.tuples(times, wild, calm, st.none()), min_size=1, max_size=7)

FEATURES = {
    f"{kind}_{n}": f"{what}, half_life: {length.days} days {length.seconds} seconds{stat}"
    for n, length in LENGTHS.items()
    for kind, what, stat in (
        ("count", "count: true", ""),
        ("wild", "sum: wild", ""),
        ("mean", "ewma: wild", ""),
        ("calm", "ewma: calm", ", stat: deviation"),
    )
}


def check_against_reference(row: dict[str, Any], events: Sequence[Any]) -> None:
    for n, length in LENGTHS.items():
        every = reference([(e[0], Decimal(1)) for e in events], length)
        assert near(row[f"count_{n}"], every["total"], every["gross"])
        assert row[f"count_{n}__at"] == every["at"]
        for name, column, shown in (
            (f"wild_{n}", 1, "total"),
            (f"mean_{n}", 1, "mean"),
            (f"calm_{n}", 2, "deviation"),
        ):
            found = counted(events, column, zeros=shown != "total")
            if not found:
                assert (row[name] or 0, row[f"{name}__at"]) == (0, None), (name, row)
                continue
            expected = reference(found, length)
            size = expected["gross" if shown == "total" else "size"]
            assert near(row[name], expected[shown], size), (name, row[name], expected[shown])
            assert row[f"{name}__at"] == expected["at"]
            if shown != "total":
                assert near(row[f"{name}__weight"], expected["count"], expected["count"])
            if shown == "deviation":
                assert near(row[f"{name}__mean"], expected["mean"], size)


def insert(conn: Connection, key: int, events: Sequence[Any]) -> None:
    marks = ", ".join("(%s, %s, %s, %s, %s)" for _ in events)
    given = [v for e in events for v in (key, *e)]
    conn.execute(f"INSERT INTO visits VALUES {marks}".encode(), given)


def test_any_order_and_any_grouping_give_the_reference(dsn: str) -> None:
    keys = itertools.count(1)
    with made(dsn, FEATURES) as conn:
        publish(conn)

        @settings(max_examples=examples(70))
        @given(visits, st.randoms(use_true_random=False))
        def holds(events: list[Any], random: Any) -> None:
            shuffled = random.sample(events, len(events))
            groups = [
                [[e] for e in events],
                [[e] for e in shuffled],
                [events],
                [shuffled[:2], shuffled[2:]],
            ]
            with localcontext(prec=60, Emax=10**12, Emin=-(10**12)):
                for group in groups:
                    key = next(keys)
                    for rows in filter(None, group):
                        insert(conn, key, rows)
                    check_against_reference(row_of(conn, key), events)

        holds()
        assert one(conn, "SELECT count(*) FROM rescore.incident_log") == 0
        assert one(conn, "SELECT bool_and(churn_score BETWEEN 0 AND 1) FROM folk")
        wrong = conn.execute("SELECT DISTINCT feature FROM rescore.verify('folk')").fetchall()
        # Of 1e100 - 1e100 not even the ninth digit is sure, and verify says so.
        assert {w[0][:5] for w in wrong} <= {"wild_", "mean_"}


# -- what is taken back, late, early, to come ----------------------------------------------------

SOME = {
    "rate": "count: true, half_life: 14 days",
    "busy": 'count: true, half_life: 2 days, where: "few > 1"',
    "spend": "sum: calm, half_life: 30 days",
    "wild": "sum: wild, half_life: 1 day, log1p: true",
    "few": "sum: few, half_life: 3 days, bucketize: [1, 4]",
    "typical": "ewma: calm, half_life: 14 days, missing: indicator",
    "unrest": "ewma: calm, half_life: 14 days, stat: deviation, default: 2.5",
}


@pytest.fixture(scope="module")
def shared(address: Address, full_template: Any) -> Iterator[Connection]:
    """A profile that the tests of this file share, each with its own events."""
    template = sql.Identifier(full_template.template_dbname)
    dsn = make_conninfo(host=address.host, port=address.port, user=address.user)
    with psycopg.connect(dsn, dbname="postgres", autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE DATABASE decay TEMPLATE {}").format(template))
        with made(make_conninfo(dsn, dbname="decay"), SOME) as found:
            publish(found)
            yield found
        superuser.execute("DROP DATABASE decay")


@pytest.fixture
def conn(shared: Connection) -> Connection:
    shared.execute("TRUNCATE visits, folk")
    shared.execute("TRUNCATE rescore.removed_keys, rescore.sweeps")
    clock(shared, NOON)
    return shared


def states(conn: Connection, key: int) -> dict[str, Any]:
    return {c: v for c, v in row_of(conn, key).items() if c.startswith(tuple(SOME)) and c != "k"}


def events(*days: float, calm: float = 10) -> list[Any]:
    """Return events so many days before noon, whose values rise."""
    return [(NOON - timedelta(days=d), 2.0 * n, calm + n, n) for n, d in enumerate(days)]


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(
        math.isclose(v, other[c], rel_tol=1e-12, abs_tol=1e-12)
        if isinstance(v, float)
        else v == other[c]
        for c, v in one.items()
    )


def test_an_update_a_delete_and_a_truncate_take_back_what_was_added(conn: Connection) -> None:
    insert(conn, 1, events(9, 5, 2))
    insert(conn, 2, events(9, 5, 2, 1, 0))
    assert not alike(states(conn, 1), states(conn, 2))
    conn.execute("DELETE FROM visits WHERE k = 2 AND few >= 3")
    assert alike(states(conn, 1), states(conn, 2))
    conn.execute("UPDATE visits SET few = 7, calm = 0 WHERE few = 1 AND k = 1")
    conn.execute("UPDATE visits SET few = 7, calm = 0, wild = 2 WHERE few = 1 AND k = 2")
    assert alike(states(conn, 1), states(conn, 2))
    conn.execute("TRUNCATE visits")
    empty = states(conn, 1)
    assert [empty[f] for f in ("rate", "busy", "spend", "few")] == [0, 0, 0, 0]
    assert [empty[f] for f in ("typical", "unrest", "rate__at", "unrest__at")] == [None] * 4


def test_an_event_counts_from_its_own_time_on_and_not_without_one(conn: Connection) -> None:
    insert(conn, 1, [(NOON - timedelta(days=14), 0, 5, 0)])
    insert(conn, 1, [(NOON + timedelta(days=14), 0, 9, 0)])
    for time in (None, "infinity", "-infinity"):
        conn.execute("INSERT INTO visits VALUES (1, %s, 1, 1, 9)", [time])
    assert (row_of(conn, 1)["rate"], row_of(conn, 1)["rate__at"]) == (1, NOON - timedelta(days=14))
    clock(conn, NOON + timedelta(days=14))
    conn.execute("CALL rescore.sweep('folk')")
    row = row_of(conn, 1)
    assert (row["rate"], row["rate__at"]) == (1.25, NOON + timedelta(days=14))
    assert row["typical"] == pytest.approx((5 / 4 + 9) / 1.25, rel=1e-12)
    assert row["busy"] == 0


def test_a_late_event_has_the_weight_of_its_own_time(conn: Connection) -> None:
    insert(conn, 1, events(0))
    insert(conn, 1, [(NOON - timedelta(days=28), 4, 20, 0)])
    row = row_of(conn, 1)
    assert (row["rate"], row["rate__at"]) == (pytest.approx(1.25), NOON)
    assert row["typical"] == pytest.approx((10 + 20 / 4) / 1.25)
    assert row["unrest"] == pytest.approx(4, rel=1e-9)


def test_a_transaction_begun_before_the_event_sees_it_whole(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(EVENTS.encode())
        define(
            conn,
            text_of({"rate": "count: true, half_life: 1 second"}).replace(", clock: session", ""),
        )
        publish(conn)
        with conn.transaction():
            conn.execute("SELECT now(), pg_sleep(0.2)")
            conn.execute("INSERT INTO visits VALUES (1, clock_timestamp())")
            read = "SELECT rate__at > now(), churn_score = rescore.predict_payload('churn', '{\"rate\": 1}') FROM folk"
            assert one(conn, read) == (True, True)


def test_one_value_has_no_deviation_and_equal_values_have_none_to_show(conn: Connection) -> None:
    insert(conn, 1, [(NOON - timedelta(days=1), 1, 0.1, 1)])
    assert (row_of(conn, 1)["typical"], row_of(conn, 1)["unrest"]) == (0.1, None)
    for hours in range(20, 0, -1):
        insert(conn, 1, [(NOON - timedelta(hours=hours), 1, 0.1, 1)])
    assert (row_of(conn, 1)["typical"], row_of(conn, 1)["unrest"]) == (0.1, 0)
    conn.execute("DELETE FROM visits WHERE at < %s", [NOON - timedelta(hours=10)])
    assert (row_of(conn, 1)["typical"], row_of(conn, 1)["unrest"]) == (0.1, 0)


# -- in the score --------------------------------------------------------------------------------


def test_the_score_stays_inlined_with_every_transform(dsn: str) -> None:
    with open_profile(dsn, EVENTS, text_of(SOME).replace(", clock: session", "")) as conn:
        insert(conn, 1, events(3, 1))
        lines = conn.execute("EXPLAIN (VERBOSE) SELECT rescore.predict('churn', p) FROM folk AS p")
        plan = "\n".join(line[0] for line in lines)
        assert "tstzrange_subdiff(spend__at, now())" in plan
        assert "rescore" not in plan


def seen(conn: Connection, key: int, moment: datetime) -> dict[str, Any]:
    """Return what the model sees of a customer at a moment, counted here from the events."""
    found = conn.execute("SELECT at, wild, calm, few FROM visits WHERE k = %s", [key]).fetchall()
    events = [
        (moment - at, float(wild), float(calm), few)
        for at, wild, calm, few in found
        if at <= moment
    ]

    def total(days: float, numbers: Sequence[float]) -> float:
        return math.fsum(
            x * 0.5 ** (e[0] / timedelta(days=days)) for x, e in zip(numbers, events, strict=True)
        )

    ones, calm = [1.0] * len(events), [e[2] for e in events]
    mean = total(14, calm) / total(14, ones)
    squares = total(14, [(x - mean) ** 2 for x in calm])
    return {
        "rate": total(14, ones),
        "busy": total(2, [float(e[3] > 1) for e in events]),
        "spend": total(30, calm),
        "wild": total(1, [e[1] for e in events]),
        "few": total(3, [e[3] for e in events]),
        "typical": mean,
        "unrest": math.sqrt(squares / total(14, ones)) if len(events) > 1 else None,
    }


def expected_score(conn: Connection, key: int, moment: datetime) -> float:
    """Return the score of what the model sees, from the weights of its version."""
    contract = contract_of(conn)
    linear = one(conn, "SELECT linear FROM rescore.models")
    row = design_row(contract, seen(conn, key, moment), moment)
    z = math.fsum(w * x for w, x in zip(linear["weights"], row, strict=True)) + linear["intercept"]
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize("later", [timedelta(), timedelta(days=10), timedelta(days=4000)])
def test_every_way_gives_the_score_of_the_moment(conn: Connection, later: timedelta) -> None:
    insert(conn, 1, events(9, 5, 2))
    insert(conn, 2, events(3))
    clock(conn, NOON + later)
    conn.execute("CALL rescore.sweep('folk')")
    for key in (1, 2):
        expected = pytest.approx(expected_score(conn, key, NOON + later), rel=1e-9)
        payload = {k: v for k, v in seen(conn, key, NOON + later).items() if v is not None}
        query = """SELECT churn_score, rescore.predict('churn', p), rescore.predict_key('churn', p.k),
            rescore.predict_key('churn', p.k::text, NULL, rescore.clock()),
            rescore.predict_key('churn', p.k, '{"few": 3}'::jsonb) - rescore.predict_payload('churn', %s::jsonb || '{"few": 3}'),
            rescore.predict_payload('churn', %s::jsonb) FROM folk AS p WHERE k = %s"""
        text = json.dumps(payload)
        found = conn.execute(query, [text, text, key]).fetchone()
        assert found is not None
        assert found[4] == pytest.approx(0, abs=1e-12)
        assert [*found[:4], found[5]] == [expected] * 5
        assert (
            one(
                conn,
                "SELECT 1 / (1 + exp(-sum(contribution))) FROM rescore.explain('churn', %s)",
                str(key),
            )
            == expected
        )


def test_a_past_moment_sees_what_had_come_by_then(conn: Connection) -> None:
    insert(conn, 1, events(9, 5, 2, 0))
    insert(conn, 1, [(NOON - timedelta(days=7), 1, 40, 3)])
    for days in (8, 6, 5, 1, 0, -300):
        moment = NOON - timedelta(days=days)
        past = one(conn, "SELECT rescore.predict_key('churn', 1, at => %s)", moment)
        assert past == pytest.approx(expected_score(conn, 1, moment), rel=1e-9)
        with conn.cursor(row_factory=dict_row) as cur:
            everybody = cur.execute(
                "SELECT * FROM rescore_compiled.folk__as_of(%s)", [moment]
            ).fetchone()
        assert everybody == {"rescore_key": 1} | {
            k: v and pytest.approx(v, rel=1e-9) for k, v in seen(conn, 1, moment).items()
        }


def test_a_sweep_brings_a_silent_customer_to_nothing_and_then_lets_be(conn: Connection) -> None:
    insert(conn, 1, events(2, 1))
    before = one(conn, "SELECT churn_score FROM folk")
    clock(conn, NOON + timedelta(days=36_000))
    conn.execute("CALL rescore.sweep('folk')")
    swept = one(conn, "SELECT churn_score, churn_score_at, ctid FROM folk")
    row = row_of(conn, 1)
    faded = {f: row[f] if f in ("typical", "unrest") else 0 for f in SOME}
    assert (
        swept[0]
        == one(conn, "SELECT rescore.predict_payload('churn', %s)", json.dumps(faded))
        != before
    )
    clock(conn, NOON + timedelta(days=36_010))
    conn.execute("CALL rescore.sweep('folk')")
    assert one(conn, "SELECT churn_score, churn_score_at, ctid FROM folk") == swept


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", 1e300, -1e300, 1e-300])
def test_a_payload_of_what_no_profile_holds_is_cleaned(conn: Connection, value: Any) -> None:
    payload = {"rate": value, "wild": value, "few": value, "typical": value, "unrest": value}
    linear = one(conn, "SELECT linear FROM rescore.models")
    row = design_row(contract_of(conn), payload, NOON)
    z = math.fsum(w * x for w, x in zip(linear["weights"], row, strict=True)) + linear["intercept"]
    expected = 1 / (1 + math.exp(-max(min(z, 700), -700)))
    assert one(
        conn, "SELECT rescore.predict_payload('churn', %s)", json.dumps(payload)
    ) == pytest.approx(expected, rel=1e-9)


# -- in the database -----------------------------------------------------------------------------


def test_the_comment_says_how_to_read_the_column(conn: Connection) -> None:
    insert(conn, 1, events(2, 1))
    comment = one(
        conn,
        "SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = 'folk'::regclass AND attname = 'rate'",
    )
    assert comment.startswith('As of "rate__at", halved every 14 days since: rescore.decayed(')
    expression = (
        comment.split("since: ")[1]
        .removesuffix(" is the value now.")
        .replace("now()", "rescore.clock()")
    )
    assert one(conn, f"SELECT {expression} FROM folk") == pytest.approx(
        seen(conn, 1, NOON)["rate"], rel=1e-9
    )


def block(of: str) -> str:
    """What stands in docs/definition.md below a mark."""
    page = (Path(__file__).parents[1] / "docs" / "definition.md").read_text("utf-8")
    found = re.search(rf"<!-- ewma: {of} -->\n(.*?)\n\n", page, re.DOTALL)
    assert found is not None
    return found[1]


def test_one_absurd_value_stays_for_weeks_as_the_manual_says(dsn: str) -> None:
    features = "".join(f"  {line}\n" for line in block("features").splitlines()[1:-1])
    rows = [line.replace(",", "").strip("| ").split(" | ") for line in block("seen").splitlines()]
    shown = {int(week): tuple(map(float, seen)) for week, *seen in rows[2:]}
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE orders (k bigint, at timestamptz, amount float8)")
        conn.execute("CREATE INDEX ON orders (k)")
        text = DEFINITION.replace("FEATURES\n", features).replace("visits", "orders")
        define(conn, text)
        found = {}
        for week in range(-12, 40):
            clock(conn, NOON + timedelta(weeks=week))
            insert_one = "INSERT INTO orders VALUES (1, rescore.clock(), %s)"
            conn.execute(insert_one, [50 if week else 1_000_000])
            contract, row = contract_of(conn), row_of(conn, 1)
            values = {each.name: row[each.name] for each in contract.inputs}
            found[week] = tuple(map(round, design_row(contract, values, NOON)))
        assert {week: found[week] for week in shown} == shown
        conn.execute("UPDATE orders SET amount = 50 WHERE amount > 1000")
        assert row_of(conn, 1)["usual_order"] == pytest.approx(50, rel=1e-9)


def test_verify_sees_what_is_wrong_and_not_what_is_rounded(conn: Connection) -> None:
    insert(conn, 1, events(9, 5, 2))
    conn.execute(
        "UPDATE folk SET rate = rate * (1 + 1e-13), unrest = unrest * (1 - 1e-13), typical = typical * (1 + 1e-13)"
    )
    assert conn.execute("SELECT * FROM rescore.verify('folk')").fetchall() == []
    assert one(conn, "SELECT rescore.rebuild('folk')") == 0
    conn.execute(
        "UPDATE folk SET rate = rate + 1e-6, unrest = NULL, typical__weight = 2, spend__at = NULL"
    )
    found = conn.execute("SELECT feature FROM rescore.verify('folk')").fetchall()
    assert [f[0] for f in found] == ["rate", "spend__at", "typical__weight", "unrest"]
    assert one(conn, "SELECT rescore.rebuild('folk')") == 1
    assert conn.execute("SELECT * FROM rescore.verify('folk')").fetchall() == []


def test_a_feature_added_to_a_live_profile_is_filled_from_the_events(conn: Connection) -> None:
    insert(conn, 1, events(9, 5, 2))
    define(conn, text_of(SOME))
    more = {
        **SOME,
        "slow": "sum: calm, half_life: 90 days",
        "rate": "count: true, half_life: 7 days",
    }
    changed = define(conn, text_of(more))
    assert "recount rate from its events" in changed.changes
    row = row_of(conn, 1)
    assert row["rate"] == pytest.approx(2 ** (-7 / 7) + 2 ** (-3 / 7) + 1, rel=1e-12)
    assert row["slow"] == pytest.approx(10 * 2 ** (-7 / 90) + 11 * 2 ** (-3 / 90) + 12, rel=1e-12)
    assert define(conn, text_of(more)).empty
    define(conn, text_of(SOME), drop=True)
    assert row_of(conn, 1)["rate"] == pytest.approx(
        seen(conn, 1, row["rate__at"])["rate"], rel=1e-9
    )


TYPES: dict[str, tuple[list[str], float, float]] = {
    "real": (["1.5", "NaN", "-Infinity", "1e-44"], 1.5, 0.75),
    "numeric": (["1.5", "NaN", "1e-400", "1e400", "Infinity"], 1.5, 0.75),
    "numeric(100, 100)": (["0.5", "NaN", "1e-100"], 0.5, 0.25),
    "smallint": (["32767", "32767", "0"], 65534, 65534 / 3),
    "bigint": (["9223372036854775807", "-9223372036854775808", "3"], 3, 1),
}


def test_numbers_of_every_type_one_by_one_and_counted_anew(dsn: str) -> None:
    columns = {f"x{n}": type_ for n, type_ in enumerate(TYPES)}
    listed = ", ".join(f"{c} {t}" for c, t in columns.items())
    features = {f"t{c}": f"sum: {c}, half_life: 1 day" for c in columns}
    features |= {f"m{c}": f"ewma: {c}, half_life: 1 day" for c in columns}
    with open_profile(
        dsn,
        f"CREATE TABLE visits (k bigint, at timestamptz, {listed})",
        text_of(features),
        serving=False,
    ) as conn:
        for column, type_ in columns.items():
            for value in TYPES[type_][0]:
                conn.execute(
                    f"INSERT INTO visits (k, at, {column}) VALUES (1, %s, %s)".encode(),
                    [NOON, value],
                )
        for _ in range(2):
            row = row_of(conn, 1)
            for column, type_ in columns.items():
                found = (row[f"t{column}"], row[f"m{column}"])
                assert found == pytest.approx(TYPES[type_][1:], rel=1e-9), type_
            conn.execute("UPDATE visits SET at = at + interval '1 hour'")


def test_text_does_not_fade(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE visits (k bigint, at timestamptz, name text)")
        for what in ("sum: name", "ewma: name"):
            with pytest.raises(DoesNotFit, match='column "name" is of type text'):
                define(conn, text_of({"t": f"{what}, half_life: 1 day"}))


# -- the functions -------------------------------------------------------------------------------


def test_no_numbers_and_no_times_make_a_function_raise(db: Connection) -> None:
    """Every state that rounding can leave behind, at every distance of time."""
    db.execute(
        """CREATE TEMP TABLE s AS SELECT x, w, at, rate FROM
               unnest('{0,1,-1,1e100,-1e100,1e-90,-1e-90,1e-98,-2e-99,1e-106}'::float8[]) AS x,
               unnest('{1,1e9}'::float8[]) AS w,
               unnest('{2026-01-01,2026-01-01 00:00:00.000001,2026-01-02,2025-12-01,1950-01-01,294000-01-01,4000-01-01 BC}'::timestamptz[]) AS at,
               unnest('{0.69,6.9e5,2.2e-10}'::float8[]) AS rate"""
    )
    found = one(
        db,
        """SELECT count(*), bool_and(abs(rescore._join_total(p.x, p.at, d.x, d.at, p.rate)) <= 2e100),
               bool_and(rescore._join_mean(p.x, p.w, p.at, d.x, d.w, d.at, p.rate) BETWEEN -1.000001e100 AND 1.000001e100),
               bool_and(rescore._join_deviation(abs(p.x), d.x, p.w, p.at, abs(d.x), p.x, d.w, d.at, p.rate) BETWEEN 0 AND 3e100),
               bool_and(rescore._join_deviation(NULL, d.x, p.w, p.at, NULL, p.x, d.w, d.at, p.rate) BETWEEN 0 AND 3e100),
               bool_and(abs(rescore.decayed(p.x, p.at, d.at, interval '1 second')) <= abs(p.x))
           FROM s AS p JOIN s AS d ON p.rate = d.rate AND p.w = 1""",
    )
    assert found[0] > 25_000
    assert found[1:] == (True,) * 5
    gathered = """
        SELECT bool_and(rescore._gather_mean(n, t, l, rate) IS NOT NULL AND rescore._gather_deviation(n, t, l, rate) >= 0)
        FROM (SELECT ARRAY[p.x, d.x, 0] AS n, ARRAY[p.at, d.at, p.at] AS t, greatest(p.at, d.at) AS l, p.rate
              FROM s AS p JOIN s AS d ON p.rate = d.rate AND p.w = 1 AND d.w = 1) AS g"""
    assert one(db, gathered)


def test_what_is_joined_stays_large_enough_to_fade(db: Connection) -> None:
    again = """
        WITH RECURSIVE t (n, total, mean, spread) AS (
            SELECT 0, 1e-90::float8, 1e-90::float8, 1e-90::float8
            UNION ALL SELECT n + 1, rescore._join_total(total, '2026-01-01', 0, '2026-01-08', 7.7e-4),
                rescore._join_mean(mean, 1, '2026-01-01', 0, 1, '2026-01-08', 7.7e-4),
                rescore._join_deviation(spread, 0, 1, '2026-01-01', NULL, 0, 1, '2026-01-08', 7.7e-4)
            FROM t WHERE n < 20)
        SELECT total, mean, spread FROM t WHERE n = 20"""
    assert one(db, again) == (0, 0, 0)
