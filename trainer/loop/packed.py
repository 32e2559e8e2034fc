"""Rows and arrays in binary form, as the server keeps or as it sends them, without a loop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rescore.errors import NotEnoughData

Bytes = bytes | memoryview

_NATIVE = {"little": "<", "big": ">"}[sys.byteorder]
_ORDERS = (_NATIVE, {"<": ">", ">": "<"}[_NATIVE])
_RECORD, _FLOAT8 = 2249, 701
"""The types' numbers, in every PostgreSQL."""


class Form(NamedTuple):
    """How rows of fields are laid out.

    Attributes
    ----------
    row: of one.
    head: what each holds beside its fields, by name.
    """

    row: np.dtype[Any]
    head: dict[str, int]


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
_FORMS: dict[bytes | tuple[bytes, bytes], Form] = {
    (np.array(_RECORD, f"{order}i4").tobytes(), np.array(count, f"{order}u2").tobytes()): Form(
        kept, {"type": _RECORD, "count": count, "data_at": _DATA_AT, "short": _SHORT[order]}
    )
    for (order, count), kept in KEPT.items()
}
_FORMS |= {
    count.to_bytes(4, "big"): Form(sent, {"count": count, "hashes length": 8})
    for count, sent in _SENT.items()
}
_MATRIX = (2).to_bytes(4, "big")
"""How an array of arrays begins, as it is sent."""


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


def form_of(data: Bytes) -> Form:
    """Return the form of rows of ``learn_fields.sql``, told by the first of them.

    Raises
    ------
    NotEnoughData: none that is known.
    """
    kept, sent = (bytes(data[4:8]), bytes(data[14:16])), bytes(data[:4])
    found = _FORMS.get(kept) or _FORMS.get(sent)
    if found is None:
        raise incomplete()
    return found


def unpacked_fields(parts: Sequence[Bytes]) -> NDArray[Any]:
    """Return the rows of ``learn_fields.sql`` with a name for each field.

    Parameters
    ----------
    parts: from ``rescore._joined``, in the server's order of bytes, or from ``record_send``, in
        the network's.

    Raises
    ------
    NotEnoughData: a field is NULL, or not as long as it should be.
    """
    if not parts:
        return np.empty(0, _SENT[len(_READ)])
    data = b"".join(parts)
    form = form_of(data)
    return _rows(data, form.row, form.head)


def unpacked_designs(parts: Sequence[Bytes], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return design rows as a matrix.

    Parameters
    ----------
    parts: one array after the other, from ``rescore._joined`` in the server's order of bytes; or
        each an array of them from ``array_send``, in the network's, each number behind its length.
    shape: of the matrix.

    Raises
    ------
    NotEnoughData: a row is or has a NULL, or there are more or fewer of them, or columns.
    """
    count, columns = shape
    if not parts and not count:
        return np.empty(shape)
    if parts and all(part[:4] == _MATRIX for part in parts):
        found = np.concatenate([_sent_matrix(part, columns) for part in parts])
        if len(found) != count:
            raise incomplete()
        return found
    body = b"".join(parts)
    order = next((o for o in _ORDERS if body[:4] == np.array(1, f"{o}i4").tobytes()), _NATIVE)
    head = np.array([1, 0, _FLOAT8, columns, 1], f"{order}i4").tobytes()
    # Copied as pieces of so many bytes: number by number takes three times as long.
    form = np.dtype([("head", f"V{len(head)}"), ("numbers", f"V{8 * columns}")])
    if len(body) != count * form.itemsize:
        raise incomplete()
    rows = np.frombuffer(body, form)
    if rows["head"].tobytes() != head * count:
        raise incomplete()
    return rows["numbers"].copy().view(f"{order}f8").reshape(shape)


def _sent_matrix(data: Bytes, columns: int) -> NDArray[np.float64]:
    count = int.from_bytes(data[12:16], "big")
    header = np.array([2, 0, _FLOAT8, count, 1, columns, 1], ">i4").tobytes()
    form = np.dtype([("length", ">i4"), ("value", ">f8")])
    if data[: len(header)] != header:
        raise incomplete()
    numbers: NDArray[np.float64] = _rows(data[len(header) :], form, {"length": 8})["value"]
    if len(numbers) != count * columns:
        raise incomplete()
    return numbers.reshape(count, columns)


def incomplete() -> NotEnoughData:
    """Return the error for what is not as it should be."""
    return NotEnoughData(
        "the snapshots read are not complete",
        detail="A value is NULL, or a design row has not as many columns as its contract.",
        hint="Install the same version of rescore in the database and here.",
    )


def _rows(data: Bytes, form: np.dtype[Any], head: dict[str, Any]) -> NDArray[Any]:
    """Return rows of a form, each of which has these values."""
    if len(data) % form.itemsize:
        raise incomplete()
    found = np.frombuffer(data, form)
    if any((found[name] != value).any() for name, value in head.items()):
        raise incomplete()
    return found
