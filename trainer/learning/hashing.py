"""Stable hashes of customers: the same shares and groups in Python and in SQL, on any machine.

``share.sql`` is the same in SQL. SHA-256 and not MD5, which servers in FIPS mode refuse.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Floats = NDArray[np.float64]
Groups = NDArray[np.intp]

_SHARE_BITS = 52  # what a float8 holds exactly


def hash_keys(keys: Iterable[object], salt: str) -> Hashes:
    """Return a 64-bit hash of each key, shape (n,).

    Parameters
    ----------
    keys: integers, texts or UUIDs, one each row; ``str`` must write them as SQL's ``::text`` does.
    salt: what the hash is for. Two uses with one salt pick the same customers: a holdout and a
        test share would coincide.
    """
    prefix = f"{salt}:".encode()
    digests = [hashlib.sha256(prefix + str(key).encode()).digest()[:8] for key in keys]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def distinct(hashes: Hashes) -> int:
    """Return how many customers there are, in a hundredth of the time that ``np.unique`` takes."""
    ordered = np.sort(hashes)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + bool(len(ordered))


def shares(hashes: Hashes) -> Floats:
    """Return each hash as a number in [0, 1), from its upper 52 bits; uniform over customers."""
    return (hashes >> np.uint64(64 - _SHARE_BITS)).astype(np.float64) / 2.0**_SHARE_BITS


def among(hashes: Hashes, share: float) -> NDArray[np.bool_]:
    """Say which are of a share of the customers: ``shares(hashes) < share``, in one step."""
    edge = _edge(share)
    return hashes < np.uint64(edge) if edge < 1 << 64 else np.ones(len(hashes), dtype=bool)


def below(share: float) -> bytes:
    """Return what the hashes, as 8 bytes, of a share of the customers are less than.

    Parameters
    ----------
    share: from 0 to 1; of all, only a hash of which each bit is set is not less.
    """
    return min(_edge(share), (1 << 64) - 1).to_bytes(8, "big")


def _edge(share: float) -> int:
    """Return what the hashes of a share of the customers are less than; of all, 2 to the 64th."""
    return math.ceil(math.ldexp(share, _SHARE_BITS)) << (64 - _SHARE_BITS)


def groups(hashes: Hashes, count: int) -> Groups:
    """Return each hash's group of customers, 0 to count - 1, from its lower 12 bits.

    These bits are not those of :func:`shares`: the groups of any share are as even as of all.

    Parameters
    ----------
    count: a power of two, at most 4096.
    """
    return (hashes & np.uint64(count - 1)).astype(np.intp)
