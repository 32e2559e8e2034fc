"""The bench runs and its result file has the promised shape; nothing here is timed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rescore.bench.context import Context
from rescore.bench.pgbench import Turn
from rescore.bench.publishing import replanned
from rescore.bench.results import Result, Sample, Samples, load, merged, summarise
from rescore.bench.scale import FULL
from rescore.bench.targets import TARGETS, verdicts
from rescore.server.account import default_home
from rescore.server.private import Server

RUN = Path(__file__).resolve().parents[2] / "bench" / "run.py"
WORKS = {
    "single inserts": {"bare", "counter", "tutorial", "worker", "worker by hand", "rescore"},
    "insert of 50 rows": {"bare", "counter", "tutorial", "worker", "worker by hand", "rescore"},
    "COPY of 50 rows": {"bare", "counter", "tutorial", "worker", "worker by hand", "rescore"},
    "insert of 50 rows, 2.5 a customer": {"bare", "counter", "worker", "rescore"},
    "COPY of 50 rows, 2.5 a customer": {"bare", "counter", "worker", "rescore"},
    "SELECT predict": {
        "floor scan",
        "rescore",
        "PL/Python, cached scikit-learn",
        "fetch, scikit-learn",
    },
    "by key": {"point SELECT", "predict_key", "predict_payload"},
    "new connection": {
        "plain query",
        "rescore",
        "rescore, predict_key",
        "PL/Python, scikit-learn",
    },
    "written back": {"bare UPDATE", "sweep", "sweep, 2 jobs", "fetch, score, COPY, join-update"},
    "publish": {"no publish", "promote", "publish"},
    "growth: profiles": {"100 profiles"},
    "growth: features": {"5 features"},
    "growth: models": {"1 model"},
    "training from 4,000 resolved examples": {
        "partial_fit in memory",
        "StandardScaler and partial_fit in memory",
        "rescore learn",
        "River learn_one",
    },
    "label's commit to serving": {"rescore run"},
    "growth: one-hot": {"no categories", "5 categories"},
    "growth: hot key": {"counter", "rescore"},
}
METRICS = {
    "single inserts": {
        *("per_second", "p50_us", "p99_us", "added_p50_us", "added_p99_us"),
        *("server_cpu_us", "wal_bytes", "hot_share", "lock_waits"),
    },
    "publish": {"throughput_left", "switch_ms", "replan_ms", "first_use_ms"},
    "growth: hot key": {"per_second", "p99_us", "lock_waits"},
    "new connection": {"first_ms", "private_mb"},
}


@pytest.mark.long
def test_a_tiny_run_measures_every_contender(tmp_path: Path) -> None:
    output = tmp_path / "latest.json"
    command = [sys.executable, str(RUN), "--scale", "tiny", "--output", str(output)]
    home = default_home() / f"bench-{os.getpid()}"  # the server's account cannot reach tmp_path
    done = subprocess.run([*command, "--home", str(home)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    for work, contenders in WORKS.items():
        assert contenders <= {r["contender"] for r in results if r["work"] == work}
    for work, metrics in METRICS.items():
        assert metrics <= {r["metric"] for r in results if r["work"] == work}
    assert all(r["low"] <= r["value"] <= r["high"] and r["turns"] >= 1 for r in results)
    assert all(r["ratio"] == 1 for r in results if r["contender"] == r["baseline"] and r["value"])
    hot = [
        r["value"] for r in results if r["metric"] == "hot_share" and r["contender"] == "rescore"
    ]
    assert hot
    assert min(hot) > 0
    assert len(verdicts(load(output))) > len(TARGETS)
    page = (tmp_path / "benchmarks.md").read_text()
    assert all(f"## {work[0].upper()}{work[1:]}" in page for work in WORKS)
    assert not home.exists()


@pytest.mark.parametrize(("left", "turns"), [(0, [0]), (math.inf, [0, 1, 2])])
def test_a_turn_that_would_end_after_the_deadline_does_not_begin(
    left: float, turns: list[int], tmp_path: Path
) -> None:
    server = Server("", 1, tmp_path, tmp_path, tmp_path, 1, "15")
    context = Context(server, replace(FULL, rounds=3), deadline=time.monotonic() + left)
    assert list(context.turns()) == turns


def test_replanning_is_what_the_first_transaction_of_each_session_took_longer() -> None:
    latencies = np.array([100.0, 100, 100, 5100, 100, 100, 3100, 100])
    ends = np.array([1.0, 2, 3, 6, 7, 1.5, 6.5, 8])
    turn = Turn(8, latencies, ends, np.array([0.0, 0, 0, 0, 0, 1, 1, 1]))
    assert replanned(turn, 5.0) == pytest.approx((5.0 + 3.0) / 2)
    assert replanned(turn, 9.0) == 0


def test_results_are_medians_and_ratios_under_the_same_conditions() -> None:
    samples = Samples()
    for clients, base in ((1, 10.0), (4, 20.0)):
        for value in (base, base * 3, base * 2):
            samples.add("w", "a", {"per_second": value}, baseline="b", clients=clients)
        samples.add("w", "b", {"per_second": base}, baseline="b", clients=clients)
    found = {(r.contender, r.conditions["clients"]): r for r in summarise(samples.all)}
    assert found["a", 1].value == 20
    assert (found["a", 4].low, found["a", 4].high, found["a", 4].turns) == (20, 60, 3)
    assert [found["a", n].ratio for n in (1, 4)] == [2, 2]


def test_works_measured_again_take_the_place_of_what_was_stored_of_them() -> None:
    def of(value: float, *works: str) -> list[Result]:
        return summarise([Sample(work, "a", "m", value, "a") for work in works])

    found = merged(of(1, "first", "second", "third"), of(2, "second", "new"))
    told = [(result.work, result.value) for result in found]
    assert told == [("first", 1), ("second", 2), ("third", 1), ("new", 2)]


def test_a_baseline_of_zero_or_none_has_no_ratio() -> None:
    lonely = Sample("w", "a", "m", 5, "missing")
    zero = [Sample("v", "a", "m", 5, "z"), Sample("v", "z", "m", 0, "z")]
    assert [r.ratio for r in summarise([lonely, *zero])] == [None, None, None]


@pytest.mark.parametrize(("rate", "met"), [(0.95, True), (0.5, False)])
def test_a_target_is_met_or_not(rate: float, met: bool) -> None:
    target = TARGETS[0]
    samples = Samples()
    for contender, value in ((target.contender, rate), (target.baseline, 1.0)):
        measures = {target.metric: value}
        samples.add(
            target.work,
            contender,
            measures,
            baseline=target.baseline,
            **dict(target.conditions),
        )
    verdict = verdicts(summarise(samples.all))[0]
    assert (verdict.value, verdict.met) == (rate, met)
    assert all(v.met is None for v in verdicts([]))


def test_a_ratio_without_a_bound_is_shown_and_not_judged() -> None:
    (target, *_) = [t for t in TARGETS if t.bound is None]
    samples = Samples()
    for contender, value in ((target.contender, 3.0), (target.baseline, 2.0)):
        where = {"baseline": target.baseline} | dict(target.conditions)
        samples.add(target.work, contender, {target.metric: value}, **where)
    (verdict,) = [v for v in verdicts(summarise(samples.all)) if v.name == target.name]
    assert (verdict.wanted, verdict.value, verdict.met) == ("", 1.5, None)


@pytest.mark.parametrize(("latest", "met"), [(-0.2, True), (3.0, False)])
def test_a_publish_is_visible_at_commit_only_if_it_always_was(latest: float, met: bool) -> None:
    samples = Samples()
    for value in (-5.0, latest, -1.0):
        samples.add("publish", "publish", {"last_old_ms": value}, baseline="no publish")
    verdict = next(v for v in verdicts(summarise(samples.all)) if "old version" in v.name)
    assert (verdict.value, verdict.met) == (latest, met)
