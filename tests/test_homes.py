"""Where a run keeps its server and its databases: in nobody else's files, whatever was left there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rescore.tests import clones, homes

NAME = "rescore-tests"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(homes, "MEMORY", tmp_path)
    return tmp_path


def test_a_home_in_memory_is_open_to_traversal_only(memory: Path) -> None:
    before = os.umask(0o077)
    try:
        assert homes.in_memory(NAME, 1) == memory / NAME
    finally:
        os.umask(before)
    assert (memory / NAME).stat().st_mode & 0o777 == 0o711
    assert homes.in_memory(NAME, 1) == memory / NAME


@pytest.mark.parametrize("what", ["file", "link", "link to nothing", "open to others"])
def test_what_somebody_else_has_put_there_is_left_alone(memory: Path, what: str) -> None:
    place, target = memory / NAME, memory / "target"
    (target / "data").mkdir(parents=True)
    if what == "file":
        place.write_text("")
    elif what == "open to others":
        (place / "data").mkdir(parents=True)
        place.chmod(0o777)
    else:
        place.symlink_to(target if what == "link" else memory / "nothing")
    assert homes.in_memory(NAME, 1) is None
    assert (target / "data").exists() and os.path.lexists(place)
    assert what != "open to others" or (place / "data").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_a_directory_of_another_account_is_left_alone(memory: Path) -> None:
    (memory / NAME / "data").mkdir(parents=True)
    os.chown(memory / NAME, 65534, 65534)
    assert homes.in_memory(NAME, 1) is None
    assert (memory / NAME / "data").exists()


def test_what_a_killed_run_has_left_makes_room(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = memory / NAME / "data"
    data.mkdir(parents=True)
    monkeypatch.setattr(homes, "_free", lambda: 1 if data.exists() else 2)
    assert homes.in_memory(NAME, 2) == memory / NAME
    assert homes.in_memory(NAME, 3) is None
    assert not (memory / NAME).exists()


def test_a_run_takes_the_place_of_a_killed_one(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCORE_HOME", str(memory / "homes"))
    monkeypatch.setattr(homes, "ROOM", 2**62)
    left = memory / "homes" / "tests-0"
    (left / "data").mkdir(parents=True)
    with homes.own_home() as one, homes.own_home() as other:
        assert (one, other) == (left, memory / "homes" / "tests-1")
        assert not (left / "data").exists()


def test_a_build_that_fails_leaves_nothing_to_the_next(plain_dsn: str) -> None:
    def fail(conn: psycopg.Connection[Any]) -> None:
        conn.execute("CREATE TABLE left_behind ()")
        raise ZeroDivisionError

    def works(conn: psycopg.Connection[Any]) -> None:
        conn.execute("CREATE TABLE made ()")

    with pytest.raises(ZeroDivisionError):
        clones.make(plain_dsn, "fails", fail)
    clones.make(plain_dsn, "works", works)
    with psycopg.connect(plain_dsn) as conn:
        found = conn.execute("SELECT to_regclass('left_behind'), to_regclass('made')").fetchone()
    assert found == (None, "made")
