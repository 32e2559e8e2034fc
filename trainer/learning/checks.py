"""What must be true of a candidate itself, whatever its metrics say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.errors import NotFinite
from rescore.plpython.linear import apply, fold
from rescore.plpython.prediction import score
from rescore.plpython.proof import tolerances
from rescore.trainer.learning.drift import ColumnCounts, psi
from rescore.trainer.learning.models import check_finite

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name: such as ``comparison``.
    passed: whether it is as it should be.
    text: a sentence that says what was found, and what was asked.
    numbers: the same as values.
    """

    name: str
    passed: bool
    text: str
    numbers: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values; numbers that are not finite become None."""
        return {**asdict(self), "numbers": _jsonable(self.numbers)}


@dataclass(frozen=True)
class Limits:
    """How far a candidate may be from the champion.

    Attributes
    ----------
    weight_drift: largest change of the standardized weights, as a share of the champion's length
        (Euclidean), which counts as at least 1.
    score_shift: largest population stability index between both models' scores of the same
        examples. 1 is what a shift by a standard deviation gives.
    """

    weight_drift: float = 5.0
    score_shift: float = 1.0


def sanity(
    candidate: Any,
    champion: Any,
    design: Floats,
    limits: Limits = Limits(),
) -> tuple[Check, ...]:
    """Check a candidate's numbers, and how far it is from the champion.

    Parameters
    ----------
    candidate: fitted, alone or behind scalers.
    champion: what serves now, or None.
    design: design rows to score, shape (n, columns).
    """
    finite = _finite(candidate, design)
    if not finite.passed:
        return (finite,)
    checks = [finite, _parity(candidate, design)]
    if champion is not None and len(design):
        checks.append(_weight_drift(candidate, champion, design, limits.weight_drift))
        checks.append(_score_shift(candidate, champion, design, limits.score_shift))
    return tuple(checks)


def _finite(candidate: Any, design: Floats) -> Check:
    try:
        check_finite(candidate)
        fold(candidate)
        score(candidate, design)
    except NotFinite as error:
        return Check("finite", False, error.message, {})
    return Check("finite", True, "all weights and scores are finite", {})


def _parity(candidate: Any, design: Floats) -> Check:
    """Compare the linear form, which is compiled, with the artefact's own scores."""
    form = fold(candidate)
    if form is None or not len(design):
        return Check("parity", True, "not linear: the artefact itself scores", {})
    expected = score(candidate, design)
    excess = float(np.max(np.abs(apply(form, design) - expected) / tolerances(expected)))
    text = f"linear form and artefact differ by at most {excess:.2g} of what is allowed"
    return Check("parity", excess <= 1, text, {"excess": excess, "rows": len(design)})


def _weight_drift(candidate: Any, champion: Any, design: Floats, limit: float) -> Check:
    new, old = fold(candidate), fold(champion)
    if new is None or old is None or len(new.weights) != len(old.weights):
        return Check("weight_drift", True, "weights cannot be compared", {})
    spread = design.std(axis=0)  # a weight says nothing without the spread of its column
    change = (np.asarray(new.weights) - np.asarray(old.weights)) * spread
    length = float(np.linalg.norm(np.asarray(old.weights) * spread))
    drift = float(np.linalg.norm(change)) / max(length, 1.0)
    farthest = int(np.argmax(np.abs(change)))
    text = (
        f"weights moved by {drift:.2g} of the champion's length, column {farthest + 1} most; "
        f"{limit:g} is allowed"
    )
    numbers = {"drift": drift, "limit": limit, "column": farthest, "change": change[farthest]}
    return Check("weight_drift", drift <= limit, text, numbers)


def _score_shift(candidate: Any, champion: Any, design: Floats, limit: float) -> Check:
    old, new = score(champion, design), score(candidate, design)
    empty = ColumnCounts.like(old, bins=10)
    shift = psi(empty.plus(old).counts, empty.plus(new).counts)
    text = f"scores moved by a stability index of {shift:.3g}; {limit:g} is allowed"
    numbers = {"psi": shift, "limit": limit, "before": old.mean(), "now": new.mean()}
    return Check("score_shift", shift <= limit, text, numbers)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
