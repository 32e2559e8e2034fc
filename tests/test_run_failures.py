"""`rescore run` goes on, whatever a job, the log, the health file or an alert comes to."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rescore.errors import Busy
from rescore.tests.running import running, until
from rescore.trainer.failing import Patience
from rescore.trainer.follow import advance, follow, listen
from rescore.trainer.health_file import watching
from rescore.trainer.rounds import Round, failures, postponed
from rescore.trainer.run_log import line

Connection = psycopg.Connection[Any]


@dataclass
class Faulty:
    """A job that does what a bug would do, as long as it is broken."""

    fault: Callable[[Connection], object]
    every: float = 0.05
    name: str = "faulty"
    channel: str = "faulty_now"
    tries: int = 0
    broken: bool = True

    def work(self, conn: Connection, stop: threading.Event) -> dict[str, Any]:
        self.tries += 1
        if self.broken:
            self.fault(conn)
        return {"done": self.tries}


@dataclass
class Sound:
    """A job that needs a clean connection, and a fault that another session would see."""

    every: float = 0.05
    name: str = "sound"
    backends: list[int] = field(default_factory=list)

    def work(self, conn: Connection, stop: threading.Event) -> dict[str, Any]:
        row = conn.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None and conn.info.transaction_status.name == "IDLE"
        self.backends.append(row[0])
        return {"done": len(self.backends)}


def out_of_memory(conn: Connection) -> None:
    raise MemoryError


def in_a_transaction(conn: Connection) -> None:
    conn.execute("BEGIN")
    conn.execute("CREATE TABLE half_done ()")
    raise ZeroDivisionError("division by zero")


def in_a_failed_transaction(conn: Connection) -> None:
    conn.execute("BEGIN")
    try:
        conn.execute("SELECT 1 / 0")
    except psycopg.Error as error:
        raise KeyError("weights") from error


def no_such_adapter(conn: Connection) -> None:
    conn.execute("SELECT %s", [object()])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (out_of_memory, "MemoryError"),
        (in_a_transaction, "ZeroDivisionError: division by zero"),
        (in_a_failed_transaction, "KeyError: 'weights'"),
        (no_such_adapter, "cannot adapt type 'object'"),
    ],
)
def test_a_bug_fails_its_round_and_nothing_else(
    plain_dsn: str, fault: Callable[[Connection], object], told: str
) -> None:
    faulty, sound = Faulty(fault), Sound()
    with running(plain_dsn, [faulty, sound]) as made:
        until(lambda: faulty.tries >= 2 and len(sound.backends) >= 5)
        faulty.broken = False
        until(lambda: any("done" in facts for facts in made.of("faulty")))
    first, second = made.of("faulty")[:2]
    assert told in first["error"]
    assert (second["times"], second["retry"]) == (2, 1.0)
    assert len(set(sound.backends)) == 1  # no need of another connection
    assert not any("error" in facts for facts in made.of("sound"))
    with psycopg.connect(plain_dsn) as conn:
        assert conn.execute("SELECT to_regclass('half_done')").fetchone() == (None,)


def test_where_it_was_raised_is_in_the_structured_log(plain_dsn: str) -> None:
    with running(plain_dsn, [Faulty(in_a_transaction)]) as made:
        until(lambda: made.said)
    facts = made.said[0]
    assert "in in_a_transaction\n" in json.loads(json.dumps(facts))["trace"]
    assert "\n" not in line(facts)
    assert line(facts, traces=True).endswith("ZeroDivisionError: division by zero")


def test_a_line_is_a_line_and_says_what_came_of_each_model() -> None:
    told = [
        {"model": "churn", "version 1": "open", "version 2": "better"},
        {"model": "worth", "error": "lost"},
    ]
    quality = {"at": "now", "job": "quality", "models": told, "error": "worth:\n\tlost"}
    said = "now quality: error worth: lost, churn version 1 open, version 2 better, worth failed"
    assert line(quality) == said
    diverged = {"action": "refused", "version": None, "reasons": ["weights are not finite"]}
    made = {"action": "published", "version": 7, "reasons": ["a", "b"]}
    learnt = [{"model": "churn", "why": "1 day since the last round", "rounds": [made, diverged]}]
    said = "churn published 7, refused: weights are not finite (1 day since the last round)"
    assert line({"at": "now", "job": "learn", "learnt": learnt}) == f"now learn: {said}"


def test_the_health_file_says_of_the_database_s_errors_what_the_log_says(
    plain_dsn: str, tmp_path: Path
) -> None:
    path = tmp_path / "health"
    missing = Faulty(lambda conn: conn.execute("SELECT * FROM nowhere"))
    said: list[dict[str, Any]] = []
    with watching(path, [missing], said.append) as (jobs, say), running(plain_dsn, jobs, say):
        until(lambda: said)
    assert told(path, "faulty")["error"] == 'relation "nowhere" does not exist'


def test_a_connection_left_in_a_statement_is_made_again(plain_dsn: str) -> None:
    def left(conn: Connection) -> None:
        conn.pgconn.send_query(b"SELECT pg_sleep(60)")
        raise RuntimeError

    faulty, sound = Faulty(left), Sound()
    with running(plain_dsn, [faulty, sound]) as made:
        until(lambda: made.of("connection"))
        faulty.broken = False
        until(lambda: len(set(sound.backends)) > 1 or len(sound.backends) > 5)
    assert "in the middle of a statement" in made.of("connection")[0]["error"]


def test_what_fails_again_and_again_is_left_alone_for_a_while(plain_dsn: str) -> None:
    faulty, sound = Faulty(out_of_memory, every=0.01), Sound(every=0.01)
    with (
        running(plain_dsn, [faulty, sound]) as made,
        psycopg.connect(plain_dsn, autocommit=True) as conn,
    ):
        until(lambda: made.of("faulty"))
        started = time.monotonic()
        while time.monotonic() - started < 2.5:
            conn.execute("NOTIFY faulty_now")  # nor does asking for it make it spin
            time.sleep(0.05)
    assert 2 <= faulty.tries <= 4
    assert len(sound.backends) > 10


def test_patience_grows_and_ends() -> None:
    patience = Patience(longest=60.0)
    waits = [patience.failed("a", "no", 3.0).get("retry", 0.0) for _ in range(7)]
    assert waits == [0.0, 3.0, 6.0, 12.0, 24.0, 48.0, 60.0]
    assert patience.waits("a") and not patience.waits("b")
    assert patience.to_json()["a"]["times"] == 7
    patience.done("a")
    assert (patience.to_json(), patience.waits("a")) == ({}, False)


def test_what_others_always_hold_fails(monkeypatch: pytest.MonkeyPatch, plain_dsn: str) -> None:
    def held() -> dict[str, Any]:
        raise Busy("another session holds it")

    patience = Patience()
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        told = [patience.tried(conn, "a", held) for _ in range(3)]
        assert told == [{"error": "another session holds it"}] * 3
        assert not patience.failing
        monkeypatch.setattr("rescore.trainer.failing.HELD_SECONDS", 0.0)
        patience.tried(conn, "a", held)
        assert patience.tried(conn, "a", held)["times"] == 2
        patience.tried(conn, "a", dict)
        assert not patience.failing and not patience.held


def test_a_part_that_fails_keeps_no_other_from_its_round(plain_dsn: str) -> None:
    tried: list[str] = []

    def work(name: str) -> dict[str, Any]:
        tried.append(name)
        if name == "b":
            in_a_transaction(conn)
        return {"of": conn.info.transaction_status.name}

    patience, stop = Patience(), threading.Event()
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        for _ in range(4):
            done = Round(conn, "model", patience, stop).each("abc", work)
    assert [tried.count(name) for name in "abc"] == [4, 2, 4]  # then b is left alone
    assert done == [{"model": "a", "of": "IDLE"}, {"model": "c", "of": "IDLE"}]
    left = postponed("model", done, patience)["postponed"]
    assert re.fullmatch(r"b until \d{4}-\S+: ZeroDivisionError: division by zero", left)
    assert ": " not in postponed("model", [{"model": "b"}], patience)["postponed"]
    assert postponed("model", done, Patience()) == {}
    told = failures("model", [{"model": "b", "error": "no", "trace": "there"}])
    assert told == {"error": "b: no", "trace": "there"}


def test_the_health_file_says_what_fails_and_how_often(plain_dsn: str, tmp_path: Path) -> None:
    path, faulty = tmp_path / "folder" / "health", Faulty(in_a_transaction)
    path.parent.mkdir()
    said: list[dict[str, Any]] = []
    with (
        watching(path, [faulty, Sound()], said.append) as (jobs, say),
        running(plain_dsn, jobs, say),
    ):
        until(lambda: (told(path, "faulty").get("times") or 0) >= 2)
        assert told(path, "faulty")["error"] == "ZeroDivisionError: division by zero"
        path.parent.rename(tmp_path / "away")
        before = len(said)
        until(lambda: len(said) > before + 20)  # nowhere to write to: it goes on
        until(lambda: [facts for facts in said if "FileNotFoundError" in facts.get("error", "")])
        (tmp_path / "away").rename(path.parent)
        faulty.broken = False
        until(lambda: path.exists() and told(path, "faulty").get("error", "") is None)
    assert json.loads(path.read_text())["state"] == "stopped"


def told(path: Path, job: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["jobs"].get(job, {})
    return found


def test_parts_that_fail_stay_in_the_health_file(plain_dsn: str, tmp_path: Path) -> None:
    @dataclass
    class Parts:
        name: str = "parts"
        every: float = 0.05
        rounds: int = 0
        patience: Patience = field(default_factory=Patience)

        def work(self, conn: Connection, stop: threading.Event) -> dict[str, Any]:
            self.rounds += 1
            done = Round(conn, "model", self.patience, stop).each("ab", self._one)
            return failures("model", done)

        def _one(self, name: str) -> dict[str, Any]:
            return {"one": 1 / (name == "a")}

    parts = Parts()
    with (
        watching(tmp_path / "health", [parts], lambda _: None) as (jobs, say),
        running(plain_dsn, jobs, say),
    ):
        until(lambda: parts.rounds > 10)
        found = told(tmp_path / "health", "parts")
    assert found["error"] == "b: ZeroDivisionError: division by zero"
    assert (list(found["failing"]), found["failing"]["b"]["times"] >= 2) == (["b"], True)


def test_a_log_that_cannot_be_written_ends_nothing(plain_dsn: str) -> None:
    def full(facts: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    sound = Sound()
    with running(plain_dsn, [sound], full):
        until(lambda: len(sound.backends) >= 3)


def test_a_replay_goes_on_as_well(plain_dsn: str) -> None:
    faulty, sound = Faulty(in_a_transaction, every=86_400.0), Sound(every=86_400.0)
    said: list[dict[str, Any]] = []
    stop = threading.Event()
    given = {"say": said.append, "stop": stop}
    replay = threading.Thread(target=follow, args=(plain_dsn, [faulty, sound]), kwargs=given)
    replay.start()
    try:
        with psycopg.connect(plain_dsn, autocommit=True) as conn:
            listen(conn)
            for day in range(1, 5):  # at the teller's pace: it is tried at each moment
                advance(conn, f"1998-01-0{day} 00:00+00", patience=30)
    finally:
        stop.set()
        replay.join(timeout=20)
    assert (faulty.tries, len(sound.backends)) == (4, 4)
    errors = [facts["error"] for facts in said if facts["job"] == "faulty"]
    assert errors == ["ZeroDivisionError: division by zero"] * 4


def test_facts_that_cannot_be_said_end_nothing(plain_dsn: str) -> None:
    said: list[str] = []
    sound, odd = Sound(), Faulty(lambda conn: None, broken=False)

    def say(facts: dict[str, Any]) -> None:
        if facts.get("done") == 2:
            raise TypeError("Object of type set is not JSON serializable")
        said.append(facts["job"])

    with running(plain_dsn, [sound, odd], say):
        until(lambda: "connection" in said and said.count("sound") > 3 and said.count("faulty") > 3)
