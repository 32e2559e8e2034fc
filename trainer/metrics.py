"""How good probabilities are: discrimination, accuracy and calibration, beside a constant."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)

from rescore.errors import NotEnoughData

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

_BINS = 10
_EDGE = 1e-15  # log-odds of 0 and 1 are infinite


def evaluate(labels: Labels, predicted: Floats, *, constant: float) -> dict[str, Any]:
    """Measure probabilities against outcomes.

    Parameters
    ----------
    labels: shape (n,), 0 or 1.
    predicted: shape (n,), probability of 1.
    constant: the probability a predictor without features would give: the base rate
        of the *training* examples.

    Returns
    -------
    dict: ``examples``, ``base_rate``, ``auc``, ``log_loss``, ``brier``, ``calibration``
    (``slope``, ``intercept``, ``bins``) and the same three numbers of ``constant``. Of margins,
    which are no probabilities, only the first three.

    Raises
    ------
    NotEnoughData: fewer than two classes among the labels.
    """
    _both_classes(labels)
    common = {"examples": len(labels), "base_rate": float(labels.mean())}
    if predicted.min() < 0 or predicted.max() > 1:
        return common | {"auc": float(roc_auc_score(labels, predicted))}
    return {
        **common,
        **_scores(labels, predicted),
        "calibration": calibration(labels, predicted),
        "constant": {
            "prediction": constant,
            **_scores(labels, np.full(len(labels), constant)),
        },
    }


def evaluate_numbers(labels: Floats, predicted: Floats, *, constant: float) -> dict[str, Any]:
    """Measure predictions of a number.

    Parameters
    ----------
    labels, predicted: shape (n,).
    constant: what a predictor without features would say: the mean of the *training* examples.

    Returns
    -------
    dict: ``examples``, ``mean``, ``r2``, ``mse``, ``rmse``, ``mae``, and those of ``constant``.
    """
    return {
        "examples": len(labels),
        "mean": float(labels.mean()),
        **_errors(labels, predicted),
        "constant": {
            "prediction": constant,
            **_errors(labels, np.full(len(labels), constant)),
        },
    }


def _errors(labels: Floats, predicted: Floats) -> dict[str, float]:
    squared = float(mean_squared_error(labels, predicted))
    return {
        "r2": float(r2_score(labels, predicted)),
        "mse": squared,
        "rmse": squared**0.5,
        "mae": float(mean_absolute_error(labels, predicted)),
    }


def calibration(labels: Labels, predicted: Floats) -> dict[str, Any]:
    """Return calibration slope and intercept (1 and 0 when perfect) and a table of ten bins.

    Slope and intercept are those of a logistic regression of the outcome on the
    predicted log-odds; a slope below 1 means predictions are too extreme.
    """
    clipped = np.clip(predicted, _EDGE, 1 - _EDGE)
    log_odds = np.log(clipped / (1 - clipped))
    slope, intercept = _recalibrate(log_odds, labels)
    return {"slope": slope, "intercept": intercept, "bins": _bins(labels, predicted)}


def _both_classes(labels: Labels) -> None:
    if len(np.unique(labels)) < 2:
        only = "none" if not len(labels) else f"only {int(labels[0])}"
        raise NotEnoughData(
            f"examples of both outcomes are needed; there are {len(labels)}, {only}",
            hint="choose other moments, or check the label's definition",
        )


def _scores(labels: Labels, predicted: Floats) -> dict[str, float]:
    return {
        "auc": float(roc_auc_score(labels, predicted)),
        "log_loss": float(log_loss(labels, predicted, labels=[0, 1])),
        "brier": float(brier_score_loss(labels, predicted)),
    }


def _recalibrate(log_odds: Floats, labels: Labels) -> tuple[float, float]:
    if np.ptp(log_odds) == 0:  # a constant has no slope
        return 0.0, float(np.log(labels.mean() / (1 - labels.mean())))
    model = LogisticRegression(C=1e10, max_iter=1000).fit(log_odds[:, None], labels)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _bins(labels: Labels, predicted: Floats) -> list[dict[str, float]]:
    """Bins of equal count, so that each average means something."""
    order = np.argsort(predicted, kind="stable")
    return [
        {
            "examples": len(part),
            "predicted": float(predicted[part].mean()),
            "observed": float(labels[part].mean()),
        }
        for part in np.array_split(order, _BINS)
        if len(part)
    ]
