"""Platt's calibration: two numbers that make honest probabilities of scores, folded into weights.

A calibrated score is ``1 / (1 + exp(-(slope * z + intercept)))``, where z is the margin or the
log-odds. Of a linear model that is a linear model again, so what is published is an ordinary
artefact, and the proof that its compiled form computes the same needs nothing new.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline

from rescore.errors import NotEnoughData, NotSupported
from rescore.plpython import estimators
from rescore.plpython.linear import LinearForm, fold
from rescore.trainer.learning.histogram import ScoreHistogram
from rescore.trainer.learning.logistic import fit_line, fit_offset

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Platt:
    """A calibration.

    Attributes
    ----------
    slope: above 0, so that the order of scores stays.
    intercept: added to the log-odds.
    """

    slope: float
    intercept: float

    def after(self, before: Platt) -> Platt:
        """Return what this calibration, fitted on scores of another, is to their margins."""
        return Platt(self.slope * before.slope, self.slope * before.intercept + self.intercept)

    def apply(self, margins: Floats) -> Floats:
        """Return calibrated probabilities, shape (n,)."""
        return cast(Floats, expit(self.slope * margins + self.intercept))


def fit_platt(histogram: ScoreHistogram) -> Platt:
    """Fit a calibration on scores that the examples had before they were learnt.

    By maximum likelihood, with Platt's targets in place of 0 and 1, which keep the slope finite
    where scores separate the outcomes. Where the slope is not above 0, the scores do not rank the
    outcomes, and only the intercept is fitted.

    Parameters
    ----------
    histogram: of margins, or of probabilities, whose log-odds are calibrated.

    Raises
    ------
    NotEnoughData: examples of one outcome only.
    """
    negatives, positives = histogram.counts.sum(axis=0)
    if not negatives.sum() or not positives.sum():
        raise NotEnoughData(
            f"cannot calibrate on {positives.sum():g} positives and {negatives.sum():g} negatives",
            detail="examples of both outcomes are needed",
            hint="wait for more labels",
        )
    z = histogram.sums[1] / np.where(negatives + positives > 0, negatives + positives, 1)
    softened = _platts_targets(positives, negatives)
    slope, intercept = (float(value[0]) for value in fit_line(z, *softened))
    if slope > 0 and np.isfinite([slope, intercept]).all():
        return Platt(slope, intercept)
    return Platt(1.0, float(fit_offset(z, *softened)[0]))


def _platts_targets(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """Return weights of both outcomes, each example of one being a little of the other."""
    high = (positives.sum() + 1) / (positives.sum() + 2)
    low = 1 / (negatives.sum() + 2)
    softened = positives * high + negatives * low
    return softened[None], (positives + negatives - softened)[None]


def calibrated(estimator: Any, platt: Platt) -> Any:
    """Return an artefact whose score is the calibrated one.

    Parameters
    ----------
    estimator: fitted, alone or behind scalers in a Pipeline; not changed. Linear models whose
        score is no probability become a SGDClassifier with ``loss="log_loss"``.

    Raises
    ------
    NotSupported: neither linear nor a neural network for two classes.
    """
    final = estimators.final_step(estimator)
    kind = type(final).__name__
    if estimators.is_one_of(final, estimators.LINEAR):
        made = copy.deepcopy(final) if _is_logistic(final) else _logistic_like(final)
    elif kind == "MLPClassifier":
        made = copy.deepcopy(final)
    else:
        raise NotSupported(
            f"{kind} cannot be calibrated",
            detail="Its log-odds times a number are no log-odds of the same kind of model.",
            hint="leave calibrate out, or use sgd_classifier or mlp_classifier",
        )
    return _with_final(estimator, _scaled(made, platt.slope, platt.intercept))


def uncalibrated(estimator: Any, platt: Platt, template: Any) -> Any:
    """Return what an artefact was before :func:`calibrated`.

    Parameters
    ----------
    estimator: what `calibrated` returned; not changed.
    template: an estimator, not fitted, of the kind that it was.

    Raises
    ------
    NotSupported: the template is of a kind that cannot be calibrated.
    """
    final = estimators.final_step(estimator)
    same = type(final) is type(template) and getattr(final, "loss", 0) == getattr(
        template, "loss", 0
    )
    if same or type(final).__name__ == "MLPClassifier":
        made = copy.deepcopy(final)
    elif estimators.is_one_of(template, estimators.LINEAR):
        made = _with_weights_of(final, template)
    else:
        raise NotSupported(
            f"{type(template).__name__} cannot go on from a calibrated {type(final).__name__}",
            hint="train again with `rescore train`",
        )
    return _with_final(estimator, _scaled(made, 1 / platt.slope, -platt.intercept / platt.slope))


def _is_logistic(final: Any) -> bool:
    return type(final).__name__ == "SGDClassifier" and final.loss == "log_loss"


def _logistic_like(final: Any) -> Any:
    """Return a classifier with the weights of a linear model and a logistic link."""
    shared = ("alpha", "penalty", "l1_ratio", "average", "random_state")
    known = {name: getattr(final, name) for name in shared if hasattr(final, name)}
    return _with_weights_of(final, SGDClassifier(loss="log_loss", **known))


def _with_weights_of(final: Any, template: Any) -> Any:
    made, form = copy.deepcopy(template), cast(LinearForm, fold(final))
    flat = np.array(form.weights)
    made.coef_ = flat[None] if hasattr(made, "decision_function") else flat
    made.intercept_ = np.array([form.intercept])
    made.n_features_in_ = final.n_features_in_
    made.t_ = getattr(final, "t_", 1.0)
    if hasattr(made, "decision_function"):
        made.classes_ = np.asarray(getattr(final, "classes_", (0, 1)))
    return made


def _scaled(made: Any, slope: float, intercept: float) -> Any:
    """Multiply the log-odds of an estimator of ours by a slope and add an intercept, in place."""
    if hasattr(made, "coefs_"):
        made.coefs_[-1] = made.coefs_[-1] * slope
        made.intercepts_[-1] = made.intercepts_[-1] * slope + intercept
        return made
    for coefficients, constants in (
        ("coef_", "intercept_"),
        ("_standard_coef", "_standard_intercept"),
        ("_average_coef", "_average_intercept"),
    ):
        if getattr(made, coefficients, None) is not None:
            setattr(made, coefficients, getattr(made, coefficients) * slope)
            setattr(made, constants, getattr(made, constants) * slope + intercept)
    return made


def _with_final(estimator: Any, final: Any) -> Any:
    if not estimators.is_one_of(estimator, (estimators.PIPELINE,)):
        return final
    return Pipeline([*copy.deepcopy(estimator.steps[:-1]), (estimator.steps[-1][0], final)])
