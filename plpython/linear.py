"""Folding a fitted pipeline into one weight per column.

Scalers and a linear model are one linear function of the raw columns; that function, with its
link, is what the compiler turns into SQL arithmetic.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from rescore.errors import ArtefactRefused, NotFinite
from rescore.plpython import estimators

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Vector = NDArray[np.float64]

Link = Literal["logistic", "clip", "identity"]
LINKS: tuple[Link, ...] = ("logistic", "clip", "identity")
LARGEST = 1e100
"""Largest magnitude of a weight, an intercept and an input."""
SMALLEST = 1e-100
"""Smaller weights and inputs count as 0."""
STEEPEST = 700.0
"""Largest magnitude of a log-odds given to ``exp``, which overflows beyond 709."""


@dataclass(frozen=True)
class LinearForm:
    """A linear score of raw columns.

    Attributes
    ----------
    weights: one per column of the design row, on the raw scale.
    intercept: the score of an all-zero row before the link.
    link: how the sum becomes the score.
    """

    weights: list[float]
    intercept: float
    link: Link

    def to_json(self) -> dict[str, Any]:
        """Return the form as JSON-able values."""
        return {"weights": self.weights, "intercept": self.intercept, "link": self.link}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LinearForm:
        """Return the form kept in JSON.

        Raises
        ------
        ArtefactRefused
            If a key is missing or the link unknown.
        NotFinite
            If a number is NaN, infinite or above 1e100.
        """
        if set(data) != {"weights", "intercept", "link"} or data["link"] not in LINKS:
            raise ArtefactRefused(
                f"not a linear form: {data!r:.200}",
                detail=f"Expected weights, intercept and a link of {', '.join(LINKS)}.",
            )
        weights = [_checked(value, "weight") for value in data["weights"]]
        return cls(weights, _checked(data["intercept"], "intercept"), data["link"])


def _checked(value: Any, what: str) -> float:
    number = float(value)
    if not abs(number) <= LARGEST:  # NaN fails this too
        raise NotFinite(
            f"{what} {number!r} of the linear form is not a number up to {LARGEST:g}",
            hint="Scale the features, or train longer with a smaller learning rate.",
        )
    return number if abs(number) >= SMALLEST else 0.0


def fold(estimator: Any) -> LinearForm | None:
    """Return the linear form of an estimator, or None if it is not linear.

    Parameters
    ----------
    estimator: a fitted, allow-listed predictor, alone or behind scalers in a Pipeline.

    Raises
    ------
    ArtefactRefused
        If it is linear with more than one score (multi-class, multi-output).
    NotFinite
        If a weight is NaN, infinite or above 1e100 in magnitude.
    """
    final = estimators.final_step(estimator)
    scalers = estimators.scaler_steps(estimator)
    if not estimators.is_one_of(final, estimators.LINEAR) or any(map(_clips, scalers)):
        return None
    weights, intercept = _coefficients(final)
    for scaler in reversed(scalers):
        weights, intercept = _fold_scaler(scaler, weights, intercept)
    factor, link = _link(final)
    weights = [_checked(factor * value, "weight") for value in weights]
    return LinearForm(weights, _checked(factor * intercept, "intercept"), link)


def _clips(scaler: Any) -> bool:
    return bool(getattr(scaler, "clip", False))


def _coefficients(final: Any) -> tuple[list[float], float]:
    import numpy as np

    coefficients = np.asarray(final.coef_, dtype=float)
    intercepts = np.atleast_1d(np.asarray(final.intercept_, dtype=float))
    if coefficients.size != final.n_features_in_ or intercepts.size != 1:
        raise ArtefactRefused(
            f"{type(final).__name__} has {coefficients.shape} coefficients for "
            f"{final.n_features_in_} features",
            detail="More than one score: several classes or several outputs.",
            hint="rescore scores one number: train on two classes, or on one target.",
        )
    return coefficients.ravel().tolist(), float(intercepts[0])


def _fold_scaler(scaler: Any, weights: list[float], intercept: float) -> tuple[list[float], float]:
    """Return weights and intercept on the scale before ``x -> (x - centre) / spread``."""
    centres, spreads = _centre_and_spread(scaler, len(weights))
    if len(centres) != len(weights) or len(spreads) != len(weights):
        raise ArtefactRefused(
            f"{type(scaler).__name__} has {len(spreads)} columns, the model {len(weights)}",
            hint="Fit the Pipeline as a whole.",
        )
    folded = [_ratio(weight, spread) for weight, spread in zip(weights, spreads, strict=True)]
    # fsum: the shift of many columns must not lose digits to the order of adding.
    shift = math.fsum(-w * c for w, c in zip(folded, centres, strict=True) if w and c)
    return folded, intercept + shift


def _ratio(weight: float, spread: float) -> float:
    return weight / spread if spread else math.nan


def _centre_and_spread(scaler: Any, columns: int) -> tuple[list[float], list[float]]:
    import numpy as np

    kind = type(scaler).__name__
    if kind == "MinMaxScaler":
        # It computes x * scale_ + min_.
        scale = np.asarray(scaler.scale_, dtype=float)
        return (-np.asarray(scaler.min_) / scale).tolist(), (1 / scale).tolist()
    centre = {"StandardScaler": "mean_", "RobustScaler": "center_"}.get(kind)
    centred = getattr(scaler, "with_mean", False) or getattr(scaler, "with_centering", False)
    shift = getattr(scaler, centre) if centre and centred else np.zeros(columns)
    spread = getattr(scaler, "scale_", None)
    return _floats(shift), _floats(np.ones(columns) if spread is None else spread)


def _floats(values: ArrayLike) -> list[float]:
    import numpy as np

    return cast("list[float]", np.asarray(values, dtype=float).ravel().tolist())


def _link(final: Any) -> tuple[float, Link]:
    """Return the factor on the weights and the link of a linear predictor."""
    kind = type(final).__name__
    if kind == "LogisticRegression":
        return (2.0 if _softmaxes(final) else 1.0), "logistic"
    if kind == "SGDClassifier" and final.loss == "log_loss":
        return 1.0, "logistic"
    if kind == "SGDClassifier" and final.loss == "modified_huber":
        return 1.0, "clip"
    return 1.0, "identity"


def _softmaxes(final: Any) -> bool:
    # Where the parameter still exists, 'multinomial' means softmax over (-z, z): expit(2z).
    known = "multi_class" in inspect.signature(type(final).__init__).parameters
    return known and getattr(final, "multi_class", None) == "multinomial"


def apply(form: LinearForm, rows: ArrayLike) -> Vector:
    """Return the scores of rows, the reference for the compiled SQL.

    Parameters
    ----------
    form: the linear form.
    rows: the design, shape (rows, columns).

    Returns
    -------
    ndarray of shape (rows,)
    """
    import numpy as np

    return linked(
        np.asarray(rows, dtype=float) @ np.asarray(form.weights) + form.intercept, form.link
    )


def linked(margins: Vector, link: Link) -> Vector:
    """Return the scores of margins, both of shape (rows,)."""
    import numpy as np

    if link == "logistic":
        kept = np.minimum(np.maximum(margins, -STEEPEST), STEEPEST)
        return 1 / (1 + np.exp(-kept))
    if link == "clip":
        return (np.clip(margins, -1, 1) + 1) / 2
    return margins
