"""Databases in other encodings than UTF-8: a definition's words are found among the events'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rescore.errors import NotSupported
from rescore.server.private import Server
from rescore.sql.install import install
from rescore.tests.support import define, one, publish
from rescore.trainer.database import connection

WORDS = {"LATIN1": "Köln", "EUC_JP": "東京"}
TABLE = "CREATE TABLE orders (customer_id bigint, ordered_at timestamptz DEFAULT now(), shop text)"
DEFINITION = """
profile: {table: customer_profile, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  here: {from: orders, count: true, where: "shop = 'WORD'"}
  shop: {from: orders, last: shop, one_hot: [WORD]}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""


@contextmanager
def encoded(server: Server, encoding: str) -> Iterator[str]:
    name = f"encoded_{encoding.lower()}"
    make = sql.SQL(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'"
    ).format(sql.Identifier(name), encoding)
    with psycopg.connect(server.dsn, autocommit=True, client_encoding="utf8") as admin:
        admin.execute(make)
        yield make_conninfo(server.dsn, dbname=name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize(("encoding", "word"), WORDS.items())
def test_words_of_the_definition_are_those_of_the_events(
    server: Server, encoding: str, word: str
) -> None:
    with encoded(server, encoding) as dsn:
        install(dsn)
        _count(dsn, word)


def _count(dsn: str, word: str) -> None:
    with connection(dsn) as conn:
        conn.execute(TABLE)
        define(conn, DEFINITION.replace("WORD", word))
        publish(conn)
        conn.execute("INSERT INTO orders VALUES (1, now(), %s), (1, now(), 'elsewhere')", [word])
        assert one(conn, "SELECT here FROM customer_profile") == 1
        assert one(conn, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0
        kept = one(conn, "SELECT d.inputs FROM rescore.deployments AS d")
        assert [i["categories"] for i in kept if i["name"] == "shop"] == [[word]]


def test_a_database_without_an_encoding_is_refused(server: Server) -> None:
    with encoded(server, "SQL_ASCII") as dsn, pytest.raises(NotSupported) as caught:
        install(dsn)
    assert "SQL_ASCII" in caught.value.message
    assert "UTF8" in caught.value.hint


@pytest.mark.parametrize("folder", ["sql", "compiler/templates", "compiler", "trainer"])
def test_what_is_sent_has_no_letters_that_an_encoding_may_lack(folder: str) -> None:
    found = Path(str(files("rescore"))).joinpath(folder).iterdir()
    sent = [each for each in found if each.suffix in (".sql", ".j2")]
    assert sent
    assert [each.name for each in sent if not each.read_text(encoding="utf-8").isascii()] == []
