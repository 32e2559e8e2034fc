"""A world that moves: drift is told, absurd rows are kept out, a concept turned round is learnt."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from sklearn.metrics import log_loss
from typer.testing import CliRunner

from rescore.cli import app
from rescore.errors import RescoreError, UnknownModel
from rescore.plpython.prediction import score
from rescore.tests.learning_shop import (
    DEFINITION,
    LEARN,
    TABLES,
    WEIGHTS,
    actions,
    connected,
    drawn,
    publish_start,
    redefine,
    resolved,
    stream,
    weights,
)
from rescore.tests.support import define, one
from rescore.trainer import operations as ops
from rescore.trainer import run as runner
from rescore.trainer.database import translated
from rescore.trainer.examples import read_source
from rescore.trainer.loop.drift import changed, watch
from rescore.trainer.loop.job import Learning
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.state import read_state
from rescore.trainer.loop.triggers import due
from rescore.trainer.run_log import line

Connection = psycopg.Connection[Any]

QUICK = """learn: {batch: 50, examples: 250, margin: 0.02, rate: {eta0: 0.05}, limits: {scores: 20},
            minimum: {customers: 40, positives: 8, negatives: 8}}"""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


def beside_the_oracle(conn: Connection, flip: float) -> float:
    """Log loss of what serves, by that of one that knows the truth."""
    design, labels = drawn(np.random.default_rng(99), 20_000, flip)
    raw = (design - [100.0, 10.0]) / [20.0, 3.0]
    oracle = 1 / (1 + np.exp(-(raw @ WEIGHTS * flip - 0.5)))
    served = score(read_state(conn, "churn").champion.estimator, design)
    return float(log_loss(labels, served) / log_loss(labels, oracle))


def test_a_concept_that_turns_round_is_reported_and_learnt(conn: Connection) -> None:
    redefine(conn, QUICK)
    publish_start(conn, WEIGHTS)
    stream(conn, 1500)
    actions(conn)
    assert beside_the_oracle(conn, 1.0) < 1.1
    before = {each.feature: each.changed_at for each in watch(conn, "churn")}
    drift = ["drift", "churn", "--dsn", conn.info.dsn]
    assert "loss" not in CliRunner().invoke(app, drift).output
    assert beside_the_oracle(conn, -1.0) > 2  # what serving on without learning would cost
    for part in range(8):
        stream(conn, 250, seed=50 + part, flip=-1.0, day=2 + part)
        actions(conn)
    after = {each.feature: each.changed_at for each in watch(conn, "churn")}
    assert beside_the_oracle(conn, -1.0) < 1.1
    assert before["loss"] is None and "loss" in CliRunner().invoke(app, drift).output
    # It turned between the 1500th example, at 1 o'clock on the 2nd, and the next, on the 3rd.
    assert "2026-01-01T23" < f"{after['loss']:%FT%H}" < "2026-01-03T02", after["loss"]
    assert after["spend"] is after["visits"] is None


def test_columns_that_move_are_told_from_those_that_do_not(conn: Connection) -> None:
    stream(conn, 2500)
    redefine(conn, LEARN.replace("examples: 1000", "examples: 2500"))
    assert actions(conn) == ["published"]
    design, labels = drawn(np.random.default_rng(5), 2500)
    design[:, 0] += 30.0
    resolved(conn, design, labels, day=3, first=10_000)
    watch(conn, "churn")
    rows = conn.execute(
        "SELECT feature, version, psi - psi_by_chance, now - before, changed_at FROM rescore.feature_drift"
    ).fetchall()
    found = {feature: rest for feature, *rest in rows}
    assert set(found) == {"spend", "visits", "score", "label", "loss"}
    assert found["spend"][1] > 0.25
    assert found["spend"][2] == pytest.approx(15, abs=2)
    assert found["visits"][1] < 0.05
    assert f"{found['spend'][3]:%F}" == "2026-01-04"
    assert found["visits"][3] is None


def test_a_rate_that_shifts_is_told_beside_that_of_training(conn: Connection) -> None:
    stream(conn, 2500)
    redefine(conn, LEARN.replace("examples: 1000", "examples: 2500"))
    assert actions(conn) == ["published"]
    design, labels = drawn(np.random.default_rng(5), 5000)
    rare = labels * (np.random.default_rng(6).random(5000) < 0.3)
    resolved(conn, design, np.where(np.arange(5000) % 5 == 0, 1.0, rare), day=3, first=10_000)
    conn.execute(
        "UPDATE rescore.snapshots SET treated_at = taken_at WHERE id > 2500 AND id % 5 = 1"
    )
    (moved,) = (each for each in watch(conn, "churn") if each.feature == "label")
    query = (
        "SELECT avg(label) FROM rescore.snapshots WHERE treated_at IS NULL AND id > %s AND id <= %s"
    )
    assert moved.numbers["before"] == pytest.approx(float(one(conn, query, 0, 2500)), abs=0.02)
    newest = moved.examples
    assert newest == 4000 and moved.numbers["now"] == pytest.approx(0.12, abs=0.02)
    assert moved.excess > 0.2 and (moved.numbers["p_value"] or 0) < 1e-6
    when(conn, "{labels: 100000}")
    assert due(conn, "churn") is None
    when(conn, "{drift: 0.2}")
    assert "label moved by a stability index of" in str(due(conn, "churn"))
    conn.execute(
        "UPDATE rescore.drift_log SET feature = 'city=here, there' WHERE feature = 'label'"
    )
    (told,) = ops.status(conn)
    assert "city=here, there" in told["moved"]
    shown = "SELECT count(*) FROM rescore.feature_drift WHERE psi - psi_by_chance > 0.25 OR changed_at IS NOT NULL"
    assert told["columns_moved"] == one(conn, shown) == len(told["moved"].split(", ")) - 1


def test_columns_may_be_named_as_what_is_watched(plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        text = DEFINITION.replace("LEARN", LEARN).replace("spend: {", "loss: {")
        conn.execute(TABLES.encode())
        define(conn, text.replace("visits: {", "label: {"))
        publish_start(conn)
        stream(conn, 3000)
        assert actions(conn)[0] == "published"
        assert [each.feature for each in watch(conn, "churn")] == ["loss", "label", "score"]


def test_the_detector_sees_changes_and_no_others() -> None:
    random = np.random.default_rng(0)
    assert sum(changed(random.normal(size=3000)) is not None for _ in range(40)) <= 1
    for _ in range(10):
        at = changed(np.r_[random.normal(size=2000), random.normal(0.5, 1, size=1000)])
        assert at is not None and 1850 < at < 2150
    assert changed(np.full(500, 3.0)) is None


def poisoned(conn: Connection) -> None:
    """A thousand good examples, then a batch of which a tenth is absurd, then good ones again."""
    stream(conn, 1000)
    design, labels = drawn(np.random.default_rng(8), 100)
    design[::10, 0] = 1e7
    labels[::10] = 1.0
    resolved(conn, design, labels, day=2, first=50_000)
    resolved(conn, *drawn(np.random.default_rng(9), 1000), day=3, first=60_000)


def test_a_poisoned_batch_never_reaches_a_version(conn: Connection) -> None:
    stream(conn, 2000, seed=2)
    assert actions(conn) == ["published", "published"]
    poisoned(conn)
    report = learn(conn, "churn")
    assert {each.action for each in report.rounds} == {"published"}
    assert sum(each.quarantined for each in report.rounds) == 100
    kept = ops.quarantined(conn)
    assert sum(row["snapshots"] for row in kept) == 100
    assert all("implausible spend: far outside" in row["reason"] for row in kept)
    others = [row for row in kept if row["reason"].startswith("in a batch of which")]
    assert ["5% or more is implausible" in row["reason"] for row in others] == [True]
    first = report.rounds[1]
    assert first.skipped == {}  # told apart from what was no example before
    assert np.array(weights(conn)) * [20, 3] == pytest.approx(WEIGHTS, abs=0.4)
    reasons = one(conn, "SELECT count(*) FROM rescore.snapshots WHERE quarantined IS NOT NULL")
    assert reasons == 100


def test_a_few_absurd_rows_cost_only_themselves_and_can_be_released(conn: Connection) -> None:
    stream(conn, 2000, seed=2)
    actions(conn)
    stream(conn, 1000, seed=4, day=2)
    conn.execute("UPDATE rescore.snapshots SET design[2] = 1e6 WHERE id IN (2100, 2200)")
    (made,) = learn(conn, "churn").rounds
    assert made.quarantined == 2
    (row,) = ops.quarantined(conn)
    assert ops.quarantined(conn, "churn") == [row]
    with pytest.raises(UnknownModel, match='unknown model "chrun"'):
        ops.quarantined(conn, "chrun")
    assert (row["model"], row["snapshots"]) == ("churn", 2)
    assert ops.release(conn, "churn", [2100]) == 1
    assert ops.release(conn, "churn", [2100]) == 0
    conn.execute("UPDATE rescore.snapshots SET design[2] = 10 WHERE id = 2100")
    stream(conn, 999, seed=5, day=4)
    before = one(conn, "SELECT sum(examples) FROM rescore.lineage")
    assert actions(conn) == ["published"]
    assert one(conn, "SELECT watermark_id FROM rescore.learning") == 3999
    assert one(conn, "SELECT sum(examples) FROM rescore.lineage") > before
    assert one(conn, "SELECT count(*) FROM rescore.snapshots WHERE quarantined IS NULL") == 3998


def test_what_was_learnt_before_it_was_kept_out_is_not_learnt_again(conn: Connection) -> None:
    stream(conn, 1000)
    actions(conn)
    assert one(conn, "SELECT watermark_id FROM rescore.learning") == 1000
    assert one(conn, "SELECT rescore.quarantine('churn', ARRAY[5, 1000], 'a bot')") == 2
    assert [row["reason"] for row in ops.quarantined(conn)] == ["learnt: a bot"]
    place = one(conn, "SELECT resolved FROM rescore.snapshots WHERE id = 5")
    assert ops.release(conn, "churn") == 2
    assert one(conn, "SELECT resolved FROM rescore.snapshots WHERE id = 5") == place
    with pytest.raises(UnknownModel):
        ops.release(conn, "chrun")
    with pytest.raises(RescoreError, match="without a reason"), translated():
        conn.execute("SELECT rescore.quarantine('churn', ARRAY[5], ' ')")


def test_a_period_is_let_out_and_counted_before(conn: Connection, plain_dsn: str) -> None:
    """One snapshot a minute from 2026-01-01 00:00 UTC on; the session is in another zone."""
    assert one(conn, "SHOW TimeZone") != "UTC"
    stream(conn, 10)
    conn.execute("SELECT rescore.quarantine('churn', ARRAY[1, 2, 3, 4, 5, 6], 'a bot')")
    conn.execute("SELECT rescore.quarantine('churn', ARRAY[7, 8], 'a test')")
    left = "SELECT array_agg(id ORDER BY id) FROM rescore.snapshots WHERE quarantined IS NOT NULL"

    def release(*words: str, model: str = "churn") -> tuple[int, str]:
        done = CliRunner().invoke(app, ["release", model, "--dsn", plain_dsn, *words])
        return done.exit_code, done.output if done.exception is None else str(done.exception)

    period = ["--since", "2026-01-01T00:02:00", "--until", "2026-01-01T00:07:00"]
    code, told = release(*period, "--dry-run")
    assert code == 0
    assert re.search(r"a test +1 +2026-01-01 00:06 +2026-01-01 00:06 *\n", told)
    assert re.search(r"a bot +4 +2026-01-01 00:02 +2026-01-01 00:05 *\n", told)
    assert one(conn, left) == [*range(1, 9)]
    rows = json.loads(release(*period, "--dry-run", "--json")[1])
    assert [(row["reason"], row["snapshots"]) for row in rows] == [("a test", 1), ("a bot", 4)]
    assert json.loads(release(*period, "--id", "3", "--id", "8", "--json")[1])["released"] == 1
    assert one(conn, left) == [1, 2, 4, 5, 6, 7, 8]
    told = release(*period)[1]
    assert re.search(r"a bot +3 (.|\n)*released +4\n", told)
    assert one(conn, left) == [1, 2, 8]
    assert "nothing of that is kept out" in release(*period)[1]
    assert (
        "--since 2026-01-01T00:07:00+00:00 is not before"
        in release("--since", period[3], "--until", period[1])[1]
    )
    assert "Known models: churn" in release("--dry-run", model="chrun")[1]
    assert json.loads(release("--json")[1]) == {"model": "churn", "released": 3}


def test_what_is_open_stays_open_when_it_is_let_out(conn: Connection) -> None:
    """Its label is still to come; what was resolved and not learnt is learnt next."""
    stream(conn, 6)
    conn.execute("UPDATE rescore.snapshots SET resolved = NULL, label = NULL WHERE id = 5")
    rows = "SELECT array_agg(resolved::text::bigint ORDER BY id) FROM rescore.snapshots WHERE id IN (5, 6)"
    _, place = one(conn, rows)
    conn.execute("SELECT rescore.quarantine('churn', ARRAY[5, 6], 'a bot')")
    assert ops.release(conn, "churn") == 2
    still_open, later = one(conn, rows)
    assert still_open is None
    assert later > place


def when(conn: Connection, text: str) -> None:
    redefine(conn, LEARN.replace("learn: {", f"learn: {{when: {text}, "))


def test_the_first_round_waits_for_enough_to_learn(conn: Connection) -> None:
    when(conn, "{every: 2 days}")
    assert due(conn, "churn") is None
    stream(conn, 900)
    assert due(conn, "churn") is None
    stream(conn, 100, seed=4, day=1)
    assert due(conn, "churn") == "first round"


def test_what_starts_a_round(conn: Connection) -> None:
    when(conn, "{labels: 1500}")
    stream(conn, 1000)
    assert due(conn, "churn") is None
    stream(conn, 500, seed=4, day=1)
    assert due(conn, "churn") == "1500 new labels"
    when(conn, "{labels: 5000}")
    conn.execute("SELECT rescore.request_learning('churn', 'prices rose')")
    assert due(conn, "churn") == "request 1"
    assert actions(conn) == ["published"]
    assert due(conn, "churn") is None
    when(conn, "{every: 2 days}")
    assert due(conn, "churn") is None
    stream(conn, 499, seed=5, day=4)
    assert due(conn, "churn") is None  # it would find too little: 500 are left, 1000 are a round
    stream(conn, 1, seed=6, day=4)
    assert str(due(conn, "churn")).startswith("2 days since")


def test_a_clock_that_was_wrong_is_not_waited_out(conn: Connection) -> None:
    when(conn, "{every: 2 days}")
    stream(conn, 1000, day=4000)
    assert actions(conn) == ["published"]
    stream(conn, 10, seed=4)
    assert due(conn, "churn") is None
    stream(conn, 1000, seed=5)
    assert due(conn, "churn")


def test_quality_and_drift_start_rounds(conn: Connection) -> None:
    stream(conn, 2500)
    redefine(conn, LEARN.replace("examples: 1000", "examples: 2500"))
    assert actions(conn) == ["published"]
    when(conn, "{quality: 0.1, drift: 0.2}")
    stream(conn, 1000, seed=6, day=2)
    assert due(conn, "churn") is None
    stream(conn, 1500, seed=7, day=3, flip=-1.0)
    assert "log_loss of what is served is" in str(due(conn, "churn"))
    when(conn, "{drift: 0.2}")
    assert due(conn, "churn") is None
    conn.execute("UPDATE rescore.snapshots SET design[2] = design[2] + 6 WHERE id > 2500")
    assert "visits moved by a stability index of" in str(due(conn, "churn"))


def test_the_runner_answers_a_request_at_once(conn: Connection, plain_dsn: str) -> None:
    when(conn, "{labels: 100000}")
    stream(conn, 1000)
    said: list[dict[str, Any]] = []
    stop = threading.Event()
    heard = threading.Event()

    def say(facts: dict[str, Any]) -> None:
        said.append(facts)
        heard.set()

    jobs = [Learning(3600.0)]
    thread = threading.Thread(
        target=runner.run, args=(plain_dsn, jobs), kwargs={"say": say, "stop": stop}
    )
    thread.start()
    assert not heard.wait(1.5)  # nothing is due, and nothing is said
    conn.execute("SELECT rescore.request_learning('churn')")
    assert heard.wait(20)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    (round_,) = said[0]["learnt"]
    assert (round_["why"], round_["rounds"][0]["action"]) == ("request 1", "published")
    assert "churn published 2 (request 1)" in line(said[0])
    assert one(conn, "SELECT done_at IS NOT NULL FROM rescore.learn_requests")


def test_what_is_no_longer_defined_learns_no_longer(conn: Connection) -> None:
    stream(conn, 1000)
    text = DEFINITION.replace("LEARN", LEARN)
    made = define(conn, text.replace("  churn:\n", "  loyal:\n").replace("churn}}", "loyal}}"))
    assert made.notes[-1] == (
        "model churn is no longer defined: its versions and snapshots stay, nothing scores, logs or "
        "learns by it"
    )
    assert Learning(60.0).work(conn, threading.Event()) == {}
    with pytest.raises(UnknownModel, match='"churn" is no longer defined'):
        read_source(conn, "churn")
    with pytest.raises(UnknownModel, match="churn is no longer defined"), translated():
        conn.execute("SELECT rescore.request_learning('churn')")
    champions = "SELECT detail FROM rescore.health WHERE \"check\" = 'champions'"
    assert one(conn, champions) == "no version serves: loyal"
    found = [(each["model"], each["removed"]) for each in ops.status(conn)]
    assert found == [("churn", True), ("loyal", False)]
    define(conn, text)
    assert one(conn, champions) == "1 models serve"
    assert [(each["model"], each["removed"]) for each in ops.status(conn)] == [("churn", False)]
    told = Learning(60.0).work(conn, threading.Event())["learnt"]
    assert [each["model"] for each in told] == ["churn"]


def test_requests_do_not_wait_for_a_model_that_is_removed(conn: Connection) -> None:
    text = DEFINITION.replace("LEARN", LEARN)
    other = text.replace("  churn:\n", "  loyal:\n").replace("churn}}", "loyal}}")
    ask = "INSERT INTO rescore.learn_requests (model) VALUES ('churn')"
    answer = """SELECT action, reasons ->> 0, (SELECT count(*) FROM rescore.learn_requests WHERE done_at IS NULL)
                FROM rescore.learn_log WHERE model = 'churn' ORDER BY id DESC LIMIT 1"""
    for _ in range(2):
        conn.execute("SELECT rescore.request_learning('churn')")
    define(conn, other)
    gone = "the model is no longer defined"
    assert one(conn, answer) == ("nothing", f"request 1, 2: {gone}", 0)
    assert Learning(60.0).work(conn, threading.Event()) == {}
    conn.execute(ask.encode())  # as one that was asked for while it was applied
    said = Learning(60.0).work(conn, threading.Event())
    assert said == {"answered": f"churn: request 3: {gone}"}
    assert one(conn, answer) == ("nothing", f"request 3: {gone}", 0)


def test_an_answered_request_is_no_round(conn: Connection) -> None:
    """Neither for who looks at the status, nor for `every`."""
    text = DEFINITION.replace("LEARN", LEARN)
    stream(conn, 1000)
    assert [each.action for each in learn(conn, "churn").rounds] == ["published"]
    (before,) = ops.status(conn)
    assert before["learnt"].startswith("published 2 ") and before["idle"] is None
    conn.execute("UPDATE rescore.learn_log SET at = at - interval '2 hours'")
    (before,) = ops.status(conn)
    conn.execute("SELECT rescore.request_learning('churn')")
    define(conn, text.replace("  churn:\n", "  loyal:\n").replace("churn}}", "loyal}}"))
    told = {each["model"]: each for each in ops.status(conn)}["churn"]
    assert told["learnt"] == before["learnt"]
    assert re.fullmatch(
        r"nothing [-\d]+ [:\d]+: request 1: the model is no longer defined", told["idle"]
    )
    define(conn, text)
    stream(conn, 1000, seed=4, day=2)
    when(conn, "{every: 1 hour}")
    assert due(conn, "churn") == "1:00:00 since the last round"
    learn(conn, "churn")
    learn(conn, "churn")
    (told,) = ops.status(conn)
    assert told["learnt"].split()[1:] != before["learnt"].split()[1:]
    assert re.fullmatch(r"nothing .*: \d+ new examples; a round needs \d+", told["idle"])


def test_what_a_changed_definition_does_not_change_of_what_was_learnt_is_said(
    conn: Connection,
) -> None:
    text = DEFINITION.replace("LEARN", LEARN)

    def said(definition: str) -> list[str]:
        return [each for each in define(conn, definition).notes if "churn" in each]

    assert said(text) == []
    other = text.replace("eta0: 0.01", "eta0: 0.05")
    assert said(other) == [
        "model churn learns on with the estimator and scaler that its champion has: those of the "
        "definition come with `rescore train churn --publish`"
    ]
    assert said(other) == []
    assert said(other.replace("within: 30 days", "within: 20 days")) == [
        "label churned now means something else: open snapshots resolve by it; train model churn "
        "anew, its versions learnt the old one"
    ]


@pytest.mark.long
def test_a_version_from_a_file_is_given_something_to_be_compared_with(conn: Connection) -> None:
    told = "SELECT status, detail FROM rescore.health WHERE \"check\" = 'drift'"
    assert one(conn, told) == ("ok", "not told before 2000 snapshots: churn, version 1 from a file")
    stream(conn, 1500)
    assert {each.numbers.get("psi") for each in watch(conn, "churn")} == {None}
    stream(conn, 600, seed=4, day=2)
    assert all((each.numbers["psi"] or 0) < 0.05 for each in watch(conn, "churn") if each.numbers)
    assert one(conn, told)[1].startswith("every model")
    version = publish_start(conn, WEIGHTS)  # there are enough when it comes
    kept = one(
        conn,
        "SELECT examples, customers, reference FROM rescore.lineage WHERE version = %s",
        version,
    )
    assert (kept[0], kept[1], set(kept[2])) == (0, 2100, {"spend", "visits", "score"})
    design, labels = drawn(np.random.default_rng(5), 5000)
    design[:, 0] += 40.0
    resolved(conn, design, labels, day=4, first=10_000)
    found = {each.feature: each for each in watch(conn, "churn")}
    assert found["spend"].excess > 0.25 > found["visits"].excess
    state = read_state(conn, "churn")
    assert (state.champion.trained, dict(state.champion.memory)) == (False, {})
    design[::20, 0] = 1e7
    resolved(conn, design, labels, day=9, first=20_000)
    learn(conn, "churn")
    assert (
        one(conn, "SELECT count(*) FROM rescore.snapshots WHERE quarantined LIKE '%%spend%%'")
        >= 250
    )
