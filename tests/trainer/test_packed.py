"""Arrays as the server keeps them and as it sends them: the same numbers, or an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.errors import NotEnoughData
from rescore.trainer.database import query
from rescore.trainer.loop.packed import unpacked, unpacked_rows

Connection = psycopg.Connection[Any]
WAYS = ("rescore._packed", "array_send")
ARRAYS = {
    "f8": ("ARRAY[0.1, -1e300, 'NaN', 'Infinity', 5e-324]::float8[]", (5,)),
    "i8": ("ARRAY[1, -1, 9223372036854775807]::int8[]", (3,)),
    "?": ("ARRAY[true, false, true]", (3,)),
}


@pytest.fixture
def conn(db: Connection) -> Connection:
    return db


def fetched(conn: Connection, way: str, array: str) -> bytes:
    with conn.cursor(binary=True) as cursor:
        row = cursor.execute(f"SELECT {way}({array})").fetchone()
    assert row is not None
    found: bytes = row[0]
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ARRAYS)
def test_numbers_are_those_of_the_array(conn: Connection, way: str, kind: str) -> None:
    array, shape = ARRAYS[kind]
    found = unpacked(fetched(conn, way, array), kind, shape)
    with conn.cursor(binary=True) as cursor:
        row = cursor.execute(f"SELECT {array}").fetchone()
    assert row is not None
    assert np.array_equal(found, np.array(row[0], kind), equal_nan=kind == "f8")
    assert found.flags.aligned and found.flags.writeable


@pytest.mark.parametrize("way", WAYS)
def test_rows_of_a_matrix(conn: Connection, way: str) -> None:
    rows = "(SELECT array_agg(ARRAY[n, -n, n / 8]::float8[]) FROM generate_series(1.0, 40) AS n)"
    n = np.arange(1.0, 41)
    found = unpacked(fetched(conn, way, rows), "f8", (40, 3))
    assert np.array_equal(found, np.column_stack([n, -n, n / 8]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("array", "shape"),
    [
        ("ARRAY[1, NULL, 3]", (3,)),
        ("array_fill(1::float8, ARRAY[64]) || NULL", (65,)),
        ("ARRAY[1, 2, 3]", (4,)),
        ("ARRAY[1, 2, 3, 4, 5, 6]", (2, 3)),
        ("ARRAY[[1, 2], [3, 4], [5, 6]]", (2, 3)),
        ("'{}'", (1,)),
    ],
)
def test_nulls_and_other_shapes_are_told(
    conn: Connection, way: str, array: str, shape: tuple[int, ...]
) -> None:
    data = fetched(conn, way, f"({array})::float8[]")
    with pytest.raises(NotEnoughData, match="not complete"):
        unpacked(data, "f8", shape)


ROWS = "(SELECT {} FROM generate_series(1.0, 40) AS n, LATERAL (SELECT {}::float8[] AS row) AS r)"
JOINED, SENT = "rescore._joined(row, NULL ORDER BY n)", "array_send(array_agg(row ORDER BY n))"


@pytest.mark.parametrize("way", [JOINED, SENT])
def test_rows_one_after_the_other(conn: Connection, way: str) -> None:
    found = unpacked_rows(fetched(conn, "", ROWS.format(way, "ARRAY[n, -n, n / 8]")), (40, 3))
    n = np.arange(1.0, 41)
    assert np.array_equal(found, np.column_stack([n, -n, n / 8]))
    assert found.flags.aligned and found.flags.writeable and found.flags.c_contiguous


@pytest.mark.parametrize(
    "row",
    [
        "CASE WHEN n < 9 THEN ARRAY[n, n, n] END",
        "ARRAY[n, NULL, n]",
        "ARRAY[n, n]",
        "CASE WHEN n % 2 = 0 THEN ARRAY[n, n] ELSE ARRAY[n, n, n, n] END",
        "ARRAY[[n], [n], [n]]",
        "('[0:2]={' || n || ',2,3}')",
        "'{}'",
    ],
)
def test_rows_that_make_no_matrix_are_told(conn: Connection, row: str) -> None:
    data = fetched(conn, "", ROWS.format(JOINED, row))
    with pytest.raises(NotEnoughData, match="not complete"):
        unpacked_rows(data, (40, 3))


def test_the_other_order_of_bytes(conn: Connection) -> None:
    data = fetched(conn, "rescore._packed", "ARRAY[0.5, -3]::float8[]")
    header, numbers = np.frombuffer(data[:20], "=i4"), np.frombuffer(data[20:], "=f8")
    turned = header.byteswap().tobytes() + numbers.byteswap().tobytes()
    assert unpacked(turned, "f8", (2,)).tolist() == [0.5, -3]
    assert unpacked_rows(turned, (1, 2)).tolist() == [[0.5, -3]]


def test_who_installs_without_a_superuser_reads_as_it_is_sent(conn: Connection) -> None:
    def packs() -> bool:
        row = conn.execute(query("learn_packs")).fetchone()
        assert row is not None
        return bool(row[0])

    assert packs()
    with conn.transaction(force_rollback=True):
        conn.execute("DROP FUNCTION rescore._packed")
        assert not packs()
    with conn.transaction(force_rollback=True):
        conn.execute("DROP AGGREGATE rescore._joined(double precision[], bytea)")
        assert not packs()
    with conn.transaction(force_rollback=True):
        conn.execute("CREATE ROLE passer_by; GRANT USAGE ON SCHEMA rescore TO passer_by")
        conn.execute("SET LOCAL ROLE passer_by")
        assert not packs()
