"""The bench runs and its result file has the promised shape; nothing here is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rescore.bench.results import Sample, Samples, load, summarise
from rescore.bench.targets import TARGETS, verdicts
from rescore.server.account import default_home

RUN = Path(__file__).resolve().parents[2] / "bench" / "run.py"
WORKS = {
    "single inserts": {"bare", "counter", "tutorial", "worker", "worker by hand", "rescore"},
    "insert of 50 rows": {"bare", "counter", "tutorial", "worker", "worker by hand", "rescore"},
    "COPY of 50 rows": {"bare", "counter", "tutorial", "worker", "worker by hand", "rescore"},
    "SELECT predict": {
        "floor scan",
        "rescore",
        "PL/Python, cached scikit-learn",
        "fetch, scikit-learn",
    },
    "by key": {"point SELECT", "predict_key", "predict_payload"},
    "new connection": {"plain query", "rescore", "PL/Python, scikit-learn"},
    "written back": {"bare UPDATE", "sweep", "sweep, 2 jobs", "fetch, score, COPY, join-update"},
    "publish": {"no publish", "promote", "publish"},
    "training from 4,000 resolved examples": {
        "partial_fit in memory",
        "StandardScaler and partial_fit in memory",
        "rescore learn",
        "River learn_one",
    },
    "label's commit to serving": {"rescore run"},
    "growth: one-hot": {"no categories", "5 categories"},
}


def test_a_tiny_run_measures_every_contender(tmp_path: Path) -> None:
    output = tmp_path / "latest.json"
    command = [sys.executable, str(RUN), "--scale", "tiny", "--output", str(output)]
    home = default_home() / f"bench-{os.getpid()}"  # the server's account cannot reach tmp_path
    done = subprocess.run([*command, "--home", str(home)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(output.read_text())
    for work, contenders in WORKS.items():
        assert contenders <= {r["contender"] for r in results if r["work"] == work}
    assert all(r["low"] <= r["value"] <= r["high"] and r["turns"] >= 1 for r in results)
    assert all(r["ratio"] == 1 for r in results if r["contender"] == r["baseline"] and r["value"])
    hot = [
        r["value"] for r in results if r["metric"] == "hot_share" and r["contender"] == "rescore"
    ]
    assert hot
    assert min(hot) > 0
    assert len(verdicts(load(output))) > len(TARGETS)
    assert not home.exists()


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
