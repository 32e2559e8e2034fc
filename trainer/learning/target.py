"""What a model is to tell: whether something happens, how much, or to which segment one belongs.

Everything that differs between the three stands here: what of a model is measured, in what it is
counted, and by which metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rescore.errors import BadDefinition
from rescore.plpython import estimators
from rescore.plpython.prediction import score
from rescore.trainer.learning.errors import DISTANCES, NUMBERS, ErrorSums
from rescore.trainer.learning.histogram import BINS, THRESHOLD, ScoreHistogram
from rescore.trainer.learning.metrics import METRICS, Metric, metric

Floats = NDArray[np.float64]
Target: TypeAlias = Literal["outcome", "number", "segments"]
Counted: TypeAlias = ScoreHistogram | ErrorSums

DEFAULTS: Mapping[Target, str] = {"outcome": "log_loss", "number": "r2", "segments": "distance"}
"""The metric by which versions are compared, unless the definition names another."""


def measured(estimator: Any, design: Floats, target: Target) -> Floats:
    """Return what is measured of design rows, shape (n,): scores, or distances of segments."""
    return distances(estimator, design) if target == "segments" else score(estimator, design)


def distances(estimator: Any, design: Floats) -> Floats:
    """Return each row's mean squared distance, a column, from its centre, as the model scales."""
    rows = design
    for scaler in estimators.scaler_steps(estimator):
        rows = scaler.transform(rows)
    centres = estimators.final_step(estimator).cluster_centers_
    nearest = centres[score(estimator, design).astype(np.intp)]
    found: Floats = np.mean((rows - nearest) ** 2, axis=1)
    return found


def threshold_of(estimator: Any) -> float:
    """Return the score from which on an estimator says that it happens: of margins 0, else 0.5."""
    final = estimators.final_step(estimator)
    margins = hasattr(final, "decision_function") and not hasattr(final, "predict_proba")
    return 0.0 if margins else THRESHOLD


def counter(
    scores: Floats,
    target: Target,
    *,
    probability: bool = False,
    bins: int = BINS,
    threshold: float = THRESHOLD,
) -> Counted:
    """Return what counts scores such as these, empty.

    Parameters
    ----------
    threshold: see `threshold_of`.
    """
    if target != "outcome":
        return ErrorSums()
    return ScoreHistogram.like(scores, probability=probability, bins=bins, threshold=threshold)


def metrics_of(target: Target) -> Mapping[str, Metric]:
    """Return the metrics of a kind of model by name."""
    return {"outcome": METRICS, "number": NUMBERS, "segments": DISTANCES}[target]


def metric_of(name: str, target: Target) -> Metric:
    """Return the metric of that name.

    Raises
    ------
    BadDefinition: none of this kind of model has that name.
    """
    if target == "outcome":
        return metric(name)
    known = metrics_of(target)
    if name not in known:
        raise BadDefinition(f'unknown metric "{name}"', detail=f"Known: {', '.join(known)}.")
    return known[name]


def typed(labels: Floats, target: Target) -> NDArray[Any]:
    """Return labels as they are learnt: 0 and 1 as small integers, numbers as they are."""
    return labels if target == "number" else labels.astype(np.int8)
