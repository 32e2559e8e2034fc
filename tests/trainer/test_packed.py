"""Rows and arrays as the server keeps them and as it sends them: the same numbers, or an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.errors import NotEnoughData
from rescore.trainer.database import query
from rescore.trainer.loop.packed import KEPT, unpacked_designs, unpacked_fields

Connection = psycopg.Connection[Any]
FIELD_WAYS = {"kept": "rescore._joined(r, NULL)", "sent": "string_agg(record_send(r), '')"}
DESIGN_WAYS = {"kept": "rescore._joined(r, NULL)", "sent": "array_send(array_agg(r))"}
VALUES = {
    "ids": "9223372036854775807::int8",
    "xids": "'18446744073709551'::xid8",
    "taken": "'2001-02-03 04:05:06.789+00'::timestamptz",
    "due": "'0001-01-02+00'::timestamptz",
    "labels": "'-Infinity'::float8",
    "holdout": "true",
    "hashes": r"'\xfedcba9876543210'::bytea",
    "scores": "5e-324::float8",
    "treated": "false",
}
ROWS = "SELECT {} FROM (SELECT {} AS r FROM generate_series(1.0, 40) AS n ORDER BY n) AS s"


def fetched(conn: Connection, way: str, row: str) -> bytes:
    with conn.cursor(binary=True) as cursor:
        found = cursor.execute(ROWS.format(way, row)).fetchone()
    assert found is not None
    data: bytes = found[0]
    return data


def fields(count: int = 9, **changed: str) -> str:
    return f"ROW({', '.join([*(VALUES | changed).values()][:count])})"


@pytest.fixture
def conn(db: Connection) -> Connection:
    return db


@pytest.mark.parametrize("way", FIELD_WAYS.values(), ids=FIELD_WAYS)
def test_fields_of_rows(conn: Connection, way: str) -> None:
    found = unpacked_fields([fetched(conn, way, fields(ids="n::int8", labels="n / 8.0::float8"))])
    assert found["ids"].tolist() == list(range(1, 41))
    assert found["labels"].tolist() == [n / 8 for n in range(1, 41)]
    last = {name: found[name][-1].item() for name in VALUES if name != "ids"}
    assert last == {
        "xids": 18446744073709551,
        "taken": 34488306789000,
        "due": -63082195200000000,
        "labels": 5.0,
        "scores": 5e-324,
        "holdout": True,
        "treated": False,
        "hashes": 0xFEDCBA9876543210,
    }


@pytest.mark.parametrize("way", FIELD_WAYS.values(), ids=FIELD_WAYS)
def test_fields_without_scores(conn: Connection, way: str) -> None:
    found = unpacked_fields([fetched(conn, way, fields(7, ids="n::int8"))])
    assert found["ids"].tolist() == list(range(1, 41))
    assert set(found["hashes"].tolist()) == {0xFEDCBA9876543210}
    assert "scores" not in (found.dtype.names or ())


@pytest.mark.parametrize("way", FIELD_WAYS.values(), ids=FIELD_WAYS)
def test_no_rows(conn: Connection, way: str) -> None:
    with conn.cursor(binary=True) as cursor:
        found = cursor.execute(
            f"SELECT {way} FROM (SELECT {fields()} AS r LIMIT 0) AS s"
        ).fetchone()
    assert found == (None,)
    assert len(unpacked_fields([])) == 0
    assert unpacked_designs([], (0, 3)).shape == (0, 3)


@pytest.mark.parametrize("way", FIELD_WAYS.values(), ids=FIELD_WAYS)
@pytest.mark.parametrize(
    "row",
    [
        *(fields(9, **{name: f"NULL::{kind}"}) for name, kind in {"ids": "int8", "due": "timestamptz", "treated": "bool", "hashes": "bytea"}.items()),
        fields(labels="CASE WHEN n < 40 THEN n::float8 END"),
        fields(hashes=r"'\x12'::bytea"),
        fields(hashes=r"CASE n % 2 WHEN 0 THEN '\x123456789abcdef001'::bytea ELSE '\x12345678abcdef'::bytea END"),
        f"ROW({', '.join([*VALUES.values(), '1::int8'])})",
        fields(8),
        fields(6),
        "ROW(1)",
    ],
)  # fmt: skip
def test_rows_of_another_form_are_told(conn: Connection, way: str, row: str) -> None:
    data = fetched(conn, way, row)
    with pytest.raises(NotEnoughData, match="not complete"):
        unpacked_fields([data])


def test_part_of_a_row_is_told(conn: Connection) -> None:
    for way in FIELD_WAYS.values():
        data = fetched(conn, way, fields())
        for cut in (data[:3], data[:-1], data[1:], b"", b"\0" * 79):
            with pytest.raises(NotEnoughData, match="not complete"):
                unpacked_fields([cut])


@pytest.mark.parametrize("kinds", [0, 7, 9])
def test_fields_in_the_other_order_of_bytes(conn: Connection, kinds: int) -> None:
    # A session numbers the kinds of rows it has met: their bytes may be those of a count of fields.
    kept = unpacked_fields([fetched(conn, FIELD_WAYS["kept"], fields(ids="n::int8"))])
    other = next(form for (_, count), form in KEPT.items() if count == 9 and form != kept.dtype)
    turned = np.empty(len(kept), other)
    for name in other.names or ():
        turned[name] = kept[name]
    turned["kind"] = kinds
    turned["short"] = {0x13: 0x89, 0x89: 0x13}[int(kept["short"][0])]
    found = unpacked_fields([turned.tobytes()])
    assert all((found[name] == kept[name]).all() for name in VALUES)


@pytest.mark.parametrize("way", DESIGN_WAYS.values(), ids=DESIGN_WAYS)
def test_rows_of_a_matrix(conn: Connection, way: str) -> None:
    data = fetched(conn, way, "ARRAY[n, -n, CASE WHEN n < 40 THEN n / 8 ELSE 'NaN' END]::float8[]")
    found = unpacked_designs([data], (40, 3))
    n = np.arange(1.0, 41)
    assert np.array_equal(found[:, :2], np.column_stack([n, -n]))
    assert np.array_equal(found[:, 2], [*(n[:-1] / 8), np.nan], equal_nan=True)


@pytest.mark.parametrize("way", DESIGN_WAYS.values(), ids=DESIGN_WAYS)
@pytest.mark.parametrize("storage", ["MAIN", "EXTERNAL"])
def test_rows_so_long_that_they_are_compressed_or_kept_elsewhere(
    conn: Connection, way: str, storage: str
) -> None:
    conn.execute(
        f"""CREATE TEMP TABLE long (n int, r float8[]);
            ALTER TABLE long ALTER r SET STORAGE {storage};
            INSERT INTO long SELECT n, array_fill(n::float8, '{{900}}') FROM generate_series(1, 3) AS n""".encode()
    )
    with conn.cursor(binary=True) as cursor:
        found = cursor.execute(
            f"""SELECT {way}, bool_and(pg_column_size(r) < 900 * 8), (SELECT pg_relation_size(reltoastrelid) > 0
                FROM pg_class WHERE oid = 'long'::regclass) FROM long"""
        ).fetchone()
    assert found is not None and found[1:] == (storage == "MAIN", storage == "EXTERNAL")
    rows = np.repeat([[1.0], [2], [3]], 900, 1)
    assert np.array_equal(unpacked_designs([found[0]], (3, 900)), rows)


@pytest.mark.parametrize("way", DESIGN_WAYS.values(), ids=DESIGN_WAYS)
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
def test_rows_that_make_no_matrix_are_told(conn: Connection, way: str, row: str) -> None:
    # The server itself makes no array of arrays of different lengths.
    with pytest.raises((NotEnoughData, psycopg.DataError), match=r"not complete|accumulate"):
        unpacked_designs([fetched(conn, way, f"({row})::float8[]")], (40, 3))


@pytest.mark.parametrize("way", DESIGN_WAYS.values(), ids=DESIGN_WAYS)
def test_several_parts_are_one_matrix(conn: Connection, way: str) -> None:
    data = fetched(conn, way, "ARRAY[n, -n]::float8[]")
    found = unpacked_designs([data, memoryview(data)], (80, 2))
    assert found[:, 0].tolist() == [*range(1, 41), *range(1, 41)]
    found[0, 0] = 7.0  # nobody else's memory
    for shape in ((79, 2), (80, 3), (40, 2), (160, 1)):
        with pytest.raises(NotEnoughData, match="not complete"):
            unpacked_designs([data, data], shape)


@pytest.mark.parametrize("way", FIELD_WAYS.values(), ids=FIELD_WAYS)
def test_several_parts_of_fields_are_one(conn: Connection, way: str) -> None:
    data = fetched(conn, way, fields(ids="n::int8"))
    found = unpacked_fields([data, memoryview(data)])
    assert found["ids"].tolist() == [*range(1, 41), *range(1, 41)]
    for other in (data[:-1], data[1:], fetched(conn, way, fields(7, ids="n::int8"))):
        with pytest.raises(NotEnoughData, match="not complete"):
            unpacked_fields([data, other])


def test_designs_in_the_other_order_of_bytes(conn: Connection) -> None:
    data = fetched(conn, DESIGN_WAYS["kept"], "ARRAY[0.5, n]::float8[]")
    form = np.dtype([("header", "=i4", 5), ("numbers", "=f8", 2)])
    turned = np.frombuffer(data, form).byteswap().tobytes()
    assert unpacked_designs([turned], (40, 2)).tolist() == [[0.5, n] for n in range(1, 41)]


def test_who_installs_without_a_superuser_reads_as_it_is_sent(conn: Connection) -> None:
    def packs() -> bool:
        row = conn.execute(query("learn_packs")).fetchone()
        assert row is not None
        return bool(row[0])

    assert packs()
    for kind in ("record", "double precision[]"):
        with conn.transaction(force_rollback=True):
            conn.execute(f"DROP AGGREGATE rescore._joined({kind}, bytea)")
            assert not packs()
    with conn.transaction(force_rollback=True):
        conn.execute("CREATE ROLE passer_by; GRANT USAGE ON SCHEMA rescore TO passer_by")
        conn.execute("SET LOCAL ROLE passer_by")
        assert not packs()
