"""``rescore outbox`` as it is called, and the generator behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest

from rescore import cli
from rescore.errors import UnknownConsumer
from rescore.tests.outbox_shop import Connection, open_shop, order
from rescore.trainer import outbox as box

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shop(plain_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("RESCORE_DSN", plain_dsn)
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        open_shop(conn, "outbox: {moved_by: 0}")
        yield conn


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rescore", "outbox", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capfd.readouterr()

    return call


def keys(out: str) -> list[str]:
    return [json.loads(line)["key"] for line in out.splitlines()]


def test_from_registering_to_dropping(shop: Connection, run: Run) -> None:
    for customer in (1, 2, 3):
        order(shop, customer)
    assert run("list")[1].strip() == "no consumers"
    assert keys(run("read", "crm", "--start", "beginning", "--json", "--batch", 2)[1]) == ["1", "2"]
    assert "customer" not in run("read", "crm", "--batch", 1)[1]
    acknowledged = json.loads(run("ack", "crm", 2, "--json")[1])
    assert acknowledged == {"consumer": "crm", "position": 2, "acknowledged": True}
    assert json.loads(run("list", "--json")[1])[0]["pending"] == 1
    assert keys(run("read", "crm", "--ack", "--json", "--batch", 1)[1]) == ["3"]
    assert run("read", "crm", "--ack", "--json") == (0, "", "")
    assert json.loads(run("prune", "--keep", "1 hour", "--json")[1]) == {"deleted": 0}
    shop.execute("UPDATE rescore.outbox SET created_at = now() - interval '2 hours'")
    assert json.loads(run("prune", "--keep", "1 hour", "--json")[1]) == {"deleted": 3}
    assert run("drop", "crm")[0] == 0
    assert shop.execute("SELECT count(*) FROM rescore.outbox_consumers").fetchone() == (0,)


def test_the_columns_are_named_once_whatever_the_batches(shop: Connection, run: Run) -> None:
    for customer in range(5):
        order(shop, customer)
    lines = run("read", "crm", "--start", "beginning", "--ack", "--batch", 2)[1].splitlines()
    assert sum("old_band" in line for line in lines) == 1
    assert sum(" score " in f" {line} " for line in lines) == 1 + 5


def test_what_is_wrong_is_said(shop: Connection, run: Run) -> None:
    shop.execute("SELECT rescore.outbox_register('crm')")
    for arguments, code, said in [
        (("read", "cmr"), 1, "unknown consumer cmr"),
        (("drop", "cmr"), 1, "Known consumers: crm"),
        (("ack", "crm", 5), 2, "row 5 was not handed to consumer crm"),
        (("read", "a b", "--start", "now"), 2, "'a b' is no name"),
        (("prune", "--keep", "soon"), 2, '--keep "soon" is not an interval'),
    ]:
        found, _, err = run(*arguments)
        assert (found, said in " ".join(err.split())) == (code, True), err


def test_following_until_told_to_stop(shop: Connection) -> None:
    order(shop, 1)
    command = ["read", "crm", "--start", "beginning", "--follow", "--every", "0.05", "--json"]
    # A shell starts what it puts into the background with SIGINT ignored, and so its children.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{start}; from rescore.cli import main; main()",
            "outbox",
            *command,
        ],
        stdout=subprocess.PIPE,
        env=os.environ,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert keys(following.stdout.readline()) == ["1"]
        order(shop, 2)
        assert keys(following.stdout.readline()) == ["2"]
        order(shop, 3)
        assert keys(following.stdout.readline()) == ["3"]
        following.send_signal(signal.SIGINT)
        try:
            assert following.wait(timeout=10) == 130
        finally:
            following.kill()
    pending = shop.execute("SELECT pending FROM rescore.outbox_lag").fetchone()
    assert pending in [(0,), (1,)]


def test_a_batch_counts_only_once_the_next_is_asked_for(shop: Connection) -> None:
    box.register(shop, "crm")
    order(shop, 1, times=3)
    shop.execute("CREATE TABLE done (id bigint PRIMARY KEY)")

    def handle(fail_at: int) -> None:
        for rows in box.batches(shop, "crm", batch=2):
            for row in rows:
                shop.execute("INSERT INTO done VALUES (%s)", [row["id"]])
                if row["id"] == fail_at:
                    raise RuntimeError("the reader crashed")

    for fail_at in (2, 3):
        with pytest.raises(RuntimeError):
            handle(fail_at)
    assert shop.execute("SELECT count(*) FROM done").fetchone() == (2,)
    handle(fail_at=0)
    assert shop.execute("SELECT array_agg(id) FROM done").fetchone() == ([1, 2, 3],)
    box.drop(shop, "crm")
    with pytest.raises(UnknownConsumer, match="unknown consumer crm"):
        next(box.batches(shop, "crm"))
