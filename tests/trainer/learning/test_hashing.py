"""Shares of customers: the same in Python and SQL, even, and independent of each other."""

from __future__ import annotations

import hashlib
import uuid
from importlib.resources import files
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql
from scipy.stats import chisquare

from rescore.trainer.learning.hashing import among, below, distinct, groups, hash_keys, shares

KEYS: list[Any] = [
    0, -7, 2**63 - 1, "", "a", "Zürich ☂", "back\\slash", "it's", uuid.UUID(int=7),
    uuid.UUID("AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE"),
]  # fmt: skip


def test_is_the_beginning_of_a_sha256() -> None:
    expected = int.from_bytes(hashlib.sha256(b"gate:42").digest()[:8], "big")
    assert hash_keys([42], "gate").tolist() == [expected]
    assert hash_keys([], "gate").shape == (0,)


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_sql_gives_the_same_share(key: Any, empty_dsn: str) -> None:
    text = files("rescore.trainer.learning").joinpath("share.sql").read_text(encoding="utf-8")
    statement = sql.SQL(text).format(key=sql.Literal(key), salt=sql.Literal("gate"))
    with psycopg.connect(empty_dsn) as conn:
        found = conn.execute(statement).fetchone()
    assert found == (shares(hash_keys([key], "gate"))[0],)


def test_shares_are_even_and_salts_independent() -> None:
    keys = range(20_000)
    one, other = shares(hash_keys(keys, "gate")), shares(hash_keys(keys, "holdout"))
    assert one.min() >= 0 and one.max() < 1
    for part in (one, other[one < 0.1]):  # a tenth by one salt is no special tenth of the other
        assert chisquare(np.histogram(part, 20, (0, 1))[0]).pvalue > 1e-3


def test_groups_of_a_share_are_as_even_as_of_all() -> None:
    hashes = hash_keys(range(40_000), "gate")
    few = groups(hashes[shares(hashes) < 0.25], 64)
    assert chisquare(np.bincount(few, minlength=64)).pvalue > 1e-3


@pytest.mark.parametrize("share", [0.0, 1e-16, 0.05, 0.2, 1 / 3, 0.5, 0.99])
def test_a_share_is_told_from_the_bytes(share: float) -> None:
    edge = int.from_bytes(below(share), "big")
    drawn = np.random.default_rng(1).integers(0, 2**64, 2000, dtype=np.uint64)
    near = [edge + n for n in (-4097, -4096, -1, 0, 1, 4096) if edge + n >= 0]
    hashes = np.append(drawn, np.array(near, dtype=np.uint64))
    told = [each.to_bytes(8, "big") < below(share) for each in hashes.tolist()]
    assert told == (shares(hashes) < share).tolist() == among(hashes, share).tolist()


def test_all_are_of_the_whole_share() -> None:
    hashes = np.array([0, 2**64 - 1], dtype=np.uint64)
    assert among(hashes, 1.0).all() and not among(hashes, 0.0).any()


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5)))
def test_customers_are_counted_once(hashes: list[int]) -> None:
    assert distinct(np.array(hashes, dtype=np.uint64)) == len(set(hashes))
