"""Samples of many turns, their medians with spread, and ratios to a baseline."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LATEST = Path(__file__).resolve().parent / "results" / "latest.json"
Conditions = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One number, seen once.

    Attributes
    ----------
    work: what was done.
    contender: by whom.
    metric: name and unit, such as ``per_second``.
    conditions: what else the number depends on: clients, features, synchronous_commit.
    baseline: the contender whose number this one's is divided by.
    """

    work: str
    contender: str
    metric: str
    value: float
    baseline: str
    conditions: Conditions = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The median of a number over all turns.

    Attributes
    ----------
    low, high: smallest and largest value seen.
    turns: how often it was measured.
    ratio: value over the baseline's value under the same conditions; None where that is 0.
    """

    work: str
    contender: str
    metric: str
    value: float
    baseline: str
    ratio: float | None
    low: float
    high: float
    turns: int
    conditions: Conditions


class Samples:
    """Collects what the works measure."""

    def __init__(self) -> None:
        self.all: list[Sample] = []

    def add(
        self,
        work: str,
        contender: str,
        measures: dict[str, float],
        *,
        baseline: str,
        **conditions: Any,
    ) -> None:
        """Add one turn's numbers."""
        for metric, value in measures.items():
            self.all.append(Sample(work, contender, metric, value, baseline, conditions))


def summarise(samples: Iterable[Sample]) -> list[Result]:
    """Return medians, spreads and ratios, in the order of first appearance."""
    groups: dict[tuple[Any, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[_place(sample, sample.contender)].append(sample)
    medians = {key: statistics.median(s.value for s in group) for key, group in groups.items()}
    return [_result(group, medians) for group in groups.values()]


def _place(sample: Sample, contender: str) -> tuple[Any, ...]:
    return sample.work, contender, sample.metric, tuple(sorted(sample.conditions.items()))


def _result(group: list[Sample], medians: dict[tuple[Any, ...], float]) -> Result:
    first = group[0]
    values = [s.value for s in group]
    median = medians[_place(first, first.contender)]
    base = medians.get(_place(first, first.baseline))
    return Result(
        work=first.work,
        contender=first.contender,
        metric=first.metric,
        value=_rounded(median),
        baseline=first.baseline,
        ratio=_rounded(median / base) if base else None,
        low=_rounded(min(values)),
        high=_rounded(max(values)),
        turns=len(values),
        conditions=first.conditions,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def save(results: list[Result], path: Path = LATEST) -> None:
    """Write the results as a JSON list, one object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(asdict(result)) for result in results]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def load(path: Path = LATEST) -> list[Result]:
    """Read results that were saved."""
    return [Result(**entry) for entry in json.loads(path.read_text())]


def merged(stored: Iterable[Result], new: Iterable[Result]) -> list[Result]:
    """Return the results of all works, the new ones in place of those stored of the same works.

    Ratios are within one work, and a work is within one run.
    """
    return [each for results in (_by_work(stored) | _by_work(new)).values() for each in results]


def _by_work(results: Iterable[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        found[result.work].append(result)
    return found


def machine() -> str:
    """Describe the machine in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return f"{os.cpu_count()} processors, {memory:.0f} GB of memory, {system}"
