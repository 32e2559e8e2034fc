"""Arrays of numbers in binary form, as the server keeps or as it sends them, without a loop."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.errors import NotEnoughData

_NATIVE = {"little": "<", "big": ">"}
_ORDERS = {b"\1\0\0\0": "<", b"\0\0\0\1": ">"}
"""By the first number of an array of one dimension."""
_FLOAT8 = 701  # the type's number, in every PostgreSQL
_OTHER = {"little": ">", "big": "<"}


def unpacked(data: bytes, kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the numbers of an array, in an array of their own.

    Parameters
    ----------
    data: from ``rescore._packed``, in the server's order of bytes, numbers without anything
        between them; or from ``array_send``, in the network's, each number behind its length.
    kind: of the numbers, such as ``f8``.
    shape: of the array, not empty.

    Raises
    ------
    NotEnoughData: it has a NULL, or another shape.
    """
    order = _order(data, shape)
    number = np.dtype(f"{order}{kind}")
    sent = np.dtype([("length", ">i4"), ("value", number)])
    body = memoryview(data)[_header(shape) :]
    count = int(np.prod(shape))
    if len(body) == count * number.itemsize:
        found = np.frombuffer(body, number)
    elif len(body) == count * sent.itemsize:
        found = np.frombuffer(body, sent)["value"]
    else:
        raise incomplete()
    # A copy: where they begin in the answer, the processor could not add them up at full speed.
    return found.astype(number.newbyteorder("=")).reshape(shape)


def unpacked_rows(data: bytes, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the numbers of arrays that are rows of a matrix, in an array of their own.

    Parameters
    ----------
    data: from ``rescore._joined``, one array after the other, each with its header; or from
        ``array_send`` of an array of rows, see :func:`unpacked`.
    shape: of the matrix, not empty.

    Raises
    ------
    NotEnoughData: it has a NULL, or another shape.
    """
    order = _ORDERS.get(data[:4])
    if order is None:
        return unpacked(data, "f8", shape)
    count, columns = shape
    row = np.dtype([("header", f"{order}i4", 5), ("numbers", f"{order}f8", columns)])
    if len(data) != count * row.itemsize:
        raise incomplete()
    found = np.frombuffer(data, row)
    if (found["header"] != [1, 0, _FLOAT8, columns, 1]).any():
        raise incomplete()
    return found["numbers"].astype(np.float64)


def incomplete() -> NotEnoughData:
    """Return the error for what is not as it should be."""
    return NotEnoughData(
        "the snapshots read are not complete",
        detail="A value is NULL, or a design row has not as many columns as its contract.",
        hint="Install the same version of rescore in the database and here.",
    )


def _header(shape: tuple[int, ...]) -> int:
    """Return its bytes: how many dimensions, whether there are NULLs, of what type, then each."""
    return 4 * (3 + 2 * len(shape))


def _order(data: bytes, shape: tuple[int, ...]) -> str:
    """Return the order of bytes, by the one in which the header says what is expected."""
    for order in (_NATIVE[sys.byteorder], _OTHER[sys.byteorder]):
        header = np.frombuffer(data[: _header(shape)], f"{order}i4").tolist()
        lengths = header[3 : 3 + len(shape)], header[3::2]  # as kept, as sent: each with its first
        if header[:2] == [len(shape), 0] and list(shape) in lengths:
            return order
    raise incomplete()
