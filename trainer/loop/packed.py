"""Rows and arrays in binary form, as the server keeps or as it sends them, without a loop."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.errors import NotEnoughData

_NATIVE = {"little": "<", "big": ">"}[sys.byteorder]
_ORDERS = (_NATIVE, {"<": ">", ">": "<"}[_NATIVE])
_RECORD, _FLOAT8 = 2249, 701
"""The types' numbers, in every PostgreSQL."""
_READ = {
    "ids": "i8", "xids": "i8", "taken": "i8", "due": "i8", "labels": "f8", "holdout": "?",
    "hashes": "u8",
}  # fmt: skip
_SCORED = {**_READ, "scores": "f8", "treated": "?"}
"""The fields of an example: those that are always read, and with what only some ask for."""
_DATA_AT = 24
"""Where a row begins to be data: behind 23 bytes of header, at a multiple of 8."""
_SHORT = {"<": 0x13, ">": 0x89}
"""The length of a value of 8 bytes, itself included, as both orders of bytes tell it in one."""


def _kept(order: str, fields: dict[str, str]) -> np.dtype[Any]:
    """Return the form of a row as servers of an order of bytes keep it, without its length."""
    parts = [("kind", "i4"), ("type", "i4"), ("at", "V6"), ("count", "u2"), ("flags", "u2")]
    parts += [("data_at", "u1"), ("pad", "V1")]
    for name, kind in fields.items():
        parts += [("short", "u1")] if name == "hashes" else []
        # Behind the hash, which begins anywhere, numbers begin at a multiple of 8.
        parts += [("gap", "V6")] if name == "scores" else []
        parts += [(name, kind)]
    known = [(n, f"{'>' if n == 'hashes' else order}{kind}") for n, kind in parts]
    return np.dtype(known)


def _sent(fields: dict[str, str]) -> np.dtype[Any]:
    """Return the form of a row from ``record_send``: each field behind its type and length."""
    each = [[(f"{n} type", ">i4"), (f"{n} length", ">i4"), (n, f">{k}")] for n, k in fields.items()]
    return np.dtype([("count", ">i4"), *(part for parts in each for part in parts)])


_FIELDS = (_READ, _SCORED)
KEPT = {(order, len(each)): _kept(order, each) for order in _ORDERS for each in _FIELDS}
_SENT = {len(each): _sent(each) for each in _FIELDS}


def order_of(data: bytes) -> str:
    """Return the server's order of bytes, "<" or ">", from ``learn_order.sql``."""
    return next(o for o in _ORDERS if data[:4] == np.array(1, f"{o}i4").tobytes())


def places(order: str | None, *, scored: bool) -> dict[str, int]:
    """Return how ``learn_stream.sql`` finds the position of the last of several rows.

    Parameters
    ----------
    order: the server's, of rows as it keeps them; None for rows as they are sent.
    scored: whether with scores and treatments.
    """
    count = len(_SCORED if scored else _READ)
    form = _SENT[count] if order is None else KEPT[order, count]
    assert form.fields is not None
    back = {name: form.itemsize - form.fields[name][1] for name in ("ids", "xids")}
    return {**back, **({"first": 0, "step": 8} if order == "<" else {"first": 56, "step": -8})}


def unpacked_fields(data: bytes | None) -> NDArray[Any]:
    """Return the rows of ``learn_fields.sql`` with a name for each field, in the bytes they are in.

    Parameters
    ----------
    data: from ``rescore._joined``, in the server's order of bytes, or from ``record_send``, in
        the network's; None for no rows.

    Raises
    ------
    NotEnoughData: a field is NULL, or not as long as it should be.
    """
    if data is None:
        return np.empty(0, _SENT[len(_READ)])
    for (order, count), form in KEPT.items():
        told = np.array(_RECORD, f"{order}i4").tobytes(), np.array(count, f"{order}u2").tobytes()
        if (data[4:8], data[14:16]) == told:
            known = {"type": _RECORD, "count": count, "data_at": _DATA_AT, "short": _SHORT[order]}
            return _rows(data, form, known)
    for count, form in _SENT.items():
        if data[:4] == count.to_bytes(4, "big"):
            return _rows(data, form, {"count": count, "hashes length": 8})
    raise incomplete()


def unpacked_designs(data: bytes | None, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return design rows as a matrix, in the bytes they are in.

    Parameters
    ----------
    data: one array after the other, from ``rescore._joined`` in the server's order of bytes, or
        an array of them from ``array_send``, in the network's, each number behind its length.
    shape: of the matrix.

    Raises
    ------
    NotEnoughData: a row is or has a NULL, or there are more or fewer of them, or columns.
    """
    count, columns = shape
    if data is None and not count:
        return np.empty(shape)
    body = data or b""
    if body[:4] == len(shape).to_bytes(4, "big"):
        return _sent_matrix(body, shape)
    order = next((o for o in _ORDERS if body[:4] == np.array(1, f"{o}i4").tobytes()), _NATIVE)
    form = np.dtype([("header", f"{order}i4", 5), ("numbers", f"{order}f8", (columns,))])
    if len(body) != count * form.itemsize:
        raise incomplete()
    numbers: NDArray[np.float64] = _rows(body, form, {"header": [1, 0, _FLOAT8, columns, 1]})[
        "numbers"
    ]
    return numbers


def _sent_matrix(data: bytes, shape: tuple[int, int]) -> NDArray[np.float64]:
    header = np.array([2, 0, _FLOAT8, shape[0], 1, shape[1], 1], ">i4").tobytes()
    form = np.dtype([("length", ">i4"), ("value", ">f8")])
    if data[: len(header)] != header:
        raise incomplete()
    numbers: NDArray[np.float64] = _rows(data[len(header) :], form, {"length": 8})["value"]
    return numbers.reshape(shape)


def incomplete() -> NotEnoughData:
    """Return the error for what is not as it should be."""
    return NotEnoughData(
        "the snapshots read are not complete",
        detail="A value is NULL, or a design row has not as many columns as its contract.",
        hint="Install the same version of rescore in the database and here.",
    )


def _rows(data: bytes, form: np.dtype[Any], head: dict[str, Any]) -> NDArray[Any]:
    """Return rows of a form, each of which has these values."""
    if len(data) % form.itemsize:
        raise incomplete()
    found = np.frombuffer(data, form)
    if any((found[name] != value).any() for name, value in head.items()):
        raise incomplete()
    return found
