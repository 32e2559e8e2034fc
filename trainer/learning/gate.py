"""The gate: may a candidate take the champion's place? Every answer comes with its reasons.

Both are measured on the same resolved examples, from which neither has learnt
(`rescore.trainer.learning.split`), with intervals that know which rows are one customer's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rescore.errors import BadDefinition, BadFeature
from rescore.trainer.learning.checks import Check
from rescore.trainer.learning.hashing import Hashes, distinct, groups
from rescore.trainer.learning.histogram import BINS, GROUPS, THRESHOLD
from rescore.trainer.learning.intervals import Interval, Side, difference, intervals, told
from rescore.trainer.learning.metrics import Metric
from rescore.trainer.learning.target import Counted, Target, counter, metric_of, metrics_of
from rescore.trainer.learning.threads import side_by_side

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

_FEWEST_BINS = 64

Verdict = Literal["pass", "refuse", "wait"]
Measured = tuple[Mapping[str, Interval], Mapping[str, Interval]]


@dataclass(frozen=True)
class Rules:
    """What a candidate must fulfil.

    Attributes
    ----------
    metric: by which it is compared: see `rescore.trainer.learning.target.metric_of`.
    margin: how much worse it may be, in the metric's own unit; below 0, how much better it must be.
    confidence: how sure it must be that it is not worse than that, such as 0.95.
    customers: fewest different customers among the examples.
    positives, negatives: fewest different customers with that outcome, where there is one.
    slope, offset: ranges for the calibration slope, and for what all log-odds lack on average.
        A candidate is refused when it is certainly outside, and further than the champion.
    """

    metric: str = "log_loss"
    margin: float = 0.0
    confidence: float = 0.95
    customers: int = 200
    positives: int = 30
    negatives: int = 30
    slope: tuple[float, float] = (0.5, 2.0)
    offset: tuple[float, float] = (-0.7, 0.7)


@dataclass(frozen=True)
class PairedScores:
    """Two models' scores of the same resolved examples.

    Attributes
    ----------
    labels: shape (n,), 0 or 1, or numbers; 0 for segments.
    hashes: shape (n,), of the customers.
    candidate, champion: what is measured (`rescore.trainer.learning.target.measured`), shape (n,);
        where no champion serves yet, a constant score.
    probability: whether they are probabilities.
    weights: shape (n,), above 0; default 1.
    segments: named parts, such as ``plan=pro``, as masks of shape (n,), in which calibration is
        looked at too.
    target: what the models tell.
    thresholds: from which score on each says that it happens.
    """

    labels: NDArray[Any]
    hashes: Hashes
    candidate: Floats
    champion: Floats
    probability: bool = True
    weights: Floats | None = None
    segments: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    target: Target = "outcome"
    thresholds: tuple[float, float] = (THRESHOLD, THRESHOLD)

    def __post_init__(self) -> None:
        parts: list[Sized] = [
            self.labels,
            self.hashes,
            self.candidate,
            self.champion,
            *self.segments.values(),
        ]
        lengths = {len(part) for part in parts}
        if len(lengths) > 1:
            raise BadFeature(f"labels, keys, scores and segments of {sorted(lengths)} examples")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def whole(self) -> tuple[Counted, Counted]:
        """The candidate's histogram and the champion's, of all examples."""
        return self.histograms()

    def histograms(self, rows: Any = slice(None)) -> tuple[Counted, Counted]:
        """Return the candidate's histogram and the champion's, of all examples or of a mask's."""
        members = groups(self.hashes, GROUPS)[rows]
        weights = None if self.weights is None else self.weights[rows]
        made = []
        both = (self.candidate[rows], self.champion[rows])
        for scores, threshold in zip(both, self.thresholds, strict=True):
            bins = min(BINS, max(len(scores) // 4, _FEWEST_BINS))
            kind, how = self.target, self.probability
            histogram = counter(scores, kind, probability=how, bins=bins, threshold=threshold)
            histogram.add(scores, self.labels[rows], members, weights)
            made.append(histogram)
        return made[0], made[1]


@dataclass(frozen=True)
class Decision:
    """What the gate says, and why.

    Attributes
    ----------
    verdict: ``pass``; ``refuse``; or ``wait``, when all that is missing is examples.
    checks: every check made, in order.
    candidate, champion: their metrics on the examples, with intervals.
    segments: of each named segment, the compared metric of both, and their calibration.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    candidate: Mapping[str, Interval]
    champion: Mapping[str, Interval]
    segments: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the candidate may serve."""
        return self.verdict == "pass"

    @property
    def reasons(self) -> tuple[str, ...]:
        """What stands against it, as sentences; when it passed, what speaks for it."""
        return tuple(check.text for check in self.checks if check.passed == self.passed)

    @property
    def surely_worse(self) -> bool:
        """Whether it is refused for more than want of proof: it is surely worse, or at fault."""
        doubted = ("customers", "positives", "negatives", "comparison")
        faults = [check for check in self.checks if check.name not in doubted and not check.passed]
        compared = [check for check in self.checks if check.name == "comparison"]
        worse = any(check.numbers["at_best"] < 0 for check in compared)
        return self.verdict == "refuse" and (bool(faults) or worse)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        checks = [check.to_json() for check in self.checks]
        parts = {"": (self.candidate, self.champion), **self.segments}
        found = {n: {"candidate": told(a), "champion": told(b)} for n, (a, b) in parts.items()}
        return {"verdict": self.verdict, "checks": checks, **found.pop(""), "segments": found}


def gate(pairs: PairedScores, rules: Rules, sanity: Sequence[Check] = ()) -> Decision:
    """Decide whether a candidate may serve.

    Parameters
    ----------
    pairs: scores on examples from which neither has learnt.
    sanity: what was found out about the models themselves; see `rescore.trainer.learning.checks`.

    Raises
    ------
    NotFinite: a score is not.
    BadDefinition: the rules name no metric that compares such scores.
    """
    compared = _compared(pairs, rules)
    counts = _counts(pairs, rules)
    if not len(pairs):
        return Decision(_verdict(counts, sanity), (*counts, *sanity), {}, {})
    shown = list({**metrics_of(pairs.target), compared.name: compared}.values())
    candidate, champion = side_by_side(partial(intervals, each, shown) for each in pairs.whole)
    parts = _segments(pairs, compared)
    faults = (*_calibrations(pairs, rules, {"": (candidate, champion), **parts}), *sanity)
    comparison = compare(pairs, rules)
    checks = (*counts, comparison, *faults)
    return Decision(_verdict(counts, faults, comparison), checks, candidate, champion, parts)


def _compared(pairs: PairedScores, rules: Rules) -> Metric:
    found = metric_of(rules.metric, pairs.target)
    if not found.better:
        raise BadDefinition(
            f"gate by {found.name}", detail="More of it is neither better nor worse."
        )
    if found.probability and not pairs.probability:
        raise BadDefinition(
            f"gate by {found.name}",
            detail="It needs probabilities; these scores are margins.",
            hint="gate by auc, or set calibrate: platt",
        )
    return found


def _verdict(
    counts: Sequence[Check], faults: Sequence[Check], comparison: Check | None = None
) -> Verdict:
    """A fault is one whatever the counts; too few examples say nothing either way."""
    if not all(check.passed for check in faults):
        return "refuse"
    if comparison is None or not all(check.passed for check in counts):
        return "wait"
    return "pass" if comparison.passed else "refuse"


def _counts(pairs: PairedScores, rules: Rules) -> tuple[Check, ...]:
    """Count customers, not rows: thirty snapshots of one customer are hardly more than one."""
    hashes, labels = pairs.hashes, pairs.labels
    found = [("customers", "customers", hashes, rules.customers)]
    if pairs.target == "outcome":
        found += [
            ("positives", "customers with the outcome", hashes[labels == 1], rules.positives),
            ("negatives", "customers without the outcome", hashes[labels == 0], rules.negatives),
        ]
    return tuple(_enough(name, what, distinct(of), needed) for name, what, of, needed in found)


def _enough(name: str, what: str, found: int, needed: int) -> Check:
    text = f"{found} {what} to test on; {needed} are needed"
    return Check(name, found >= needed, text, {"found": found, "needed": needed})


def compare(pairs: PairedScores, rules: Rules) -> Check:
    """Say whether a candidate is surely not worse than the margin allows.

    Raises
    ------
    As `gate` does.
    """
    compared = _compared(pairs, rules)
    side: Side = "lower" if compared.better > 0 else "upper"
    found = difference(*pairs.whole, compared, rules.confidence, side)
    gain = compared.better * found.estimate
    surely = compared.better * (found.low if side == "lower" else found.high)
    passed = bool(surely >= -rules.margin)
    text = (
        f"{compared.name} {'gains' if gain >= 0 else 'loses'} {abs(gain):.4g}, "
        f"at {rules.confidence:.0%} confidence at least {surely:.4g}; "
        f"{-rules.margin:.4g} is {'asked' if rules.margin <= 0 else 'allowed'}"
    )
    # The interval is symmetric: as far as the bound is below the gain, the other is above it.
    numbers = {"gain": gain, "surely": surely, "at_best": 2 * gain - surely}
    numbers |= {"margin": rules.margin, "groups": found.groups, "confidence": rules.confidence}
    return Check("comparison", passed, text, numbers)


_ASKED = (("calibration_slope", "slope", 1.0), ("calibration_in_the_large", "offset", 0.0))


def _segments(pairs: PairedScores, compared: Metric) -> dict[str, Measured]:
    known = metrics_of(pairs.target)
    asked = [compared, *(known[name] for name, _, _ in _ASKED if name in known)]
    parts = {name: pairs.histograms(of) for name, of in pairs.segments.items() if of.any()}
    return {n: (intervals(a, asked), intervals(b, asked)) for n, (a, b) in parts.items()}


def _calibrations(
    pairs: PairedScores, rules: Rules, parts: Mapping[str, Measured]
) -> tuple[Check, ...]:
    """Check calibration over all examples, and in each named segment."""
    if not pairs.probability:
        return ()
    return tuple(check for name, found in parts.items() for check in _of_part(found, rules, name))


def _of_part(found: Measured, rules: Rules, part: str) -> list[Check]:
    candidate, champion = found
    return [
        _calibration(candidate[name], champion[name], f"{name} in {part}" if part else name,
                     getattr(rules, what), ideal)
        for name, what, ideal in _ASKED
    ]  # fmt: skip


def _calibration(
    candidate: Interval, champion: Interval, name: str, allowed: tuple[float, float], ideal: float
) -> Check:
    outside = candidate.low > allowed[1] or candidate.high < allowed[0]
    # What is nearer than the champion is progress, also from far away.
    nearer = abs(candidate.estimate - ideal) <= abs(champion.estimate - ideal)
    text = (
        f"{name} {candidate.estimate:.3g} ({candidate.low:.3g} to {candidate.high:.3g}), "
        f"champion {champion.estimate:.3g}; {allowed[0]:g} to {allowed[1]:g} is allowed"
    )
    numbers = {"candidate": candidate.to_json(), "champion": champion.to_json()}
    return Check(name, not outside or nearer, text, {**numbers, "allowed": list(allowed)})
