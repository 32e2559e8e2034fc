"""Fit scaler and estimator with ``partial_fit``, the same numbers on every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from rescore.compiler.definition_learn import SEGMENTS
from rescore.errors import BadDefinition, NotEnoughData, NotFinite
from rescore.trainer.estimators import make_estimator, make_scaler
from rescore.trainer.learning.averaging import Averaged
from rescore.trainer.learning.kinds import Clusters
from rescore.trainer.learning.models import Model

Floats = NDArray[np.float64]


Progress = Callable[[int, int], None]
"""Called with the number of passes done and the number to do."""


SETTLED = 1_000_000
FEWEST, MOST = 10, 100


@dataclass(frozen=True)
class Recipe:
    """How to fit.

    Attributes
    ----------
    estimator: one name from ``estimators.ESTIMATORS`` and its arguments.
    scaler: one name from ``estimators.SCALERS``, or None.
    passes: how often ``partial_fit`` sees each example; None for so often that a million are
        seen, which is where stochastic gradient descent settles, but 10 to 100 times.
    batch: examples per call of ``partial_fit``.
    seed: of the shuffling and of the estimator.
    """

    estimator: dict[str, dict[str, Any]]
    scaler: str | None = "standard"
    passes: int | None = None
    batch: int = 10_000
    seed: int = 0

    def passes_over(self, examples: int) -> int:
        """Return how often so many examples are to be seen."""
        enough = -(-SETTLED // max(examples, 1))
        return self.passes or min(max(enough, FEWEST), MOST)


def fit(
    design: Floats,
    labels: NDArray[Any],
    recipe: Recipe,
    progress: Progress | None = None,
    weights: Floats | None = None,
) -> Any:
    """Fit a scaler and an estimator.

    Parameters
    ----------
    design: shape (examples, columns), the design rows computed by the server.
    labels: shape (examples,), 0 or 1, or numbers as float64; not looked at by clusters.
    recipe: see `Recipe`.
    weights: how many examples each stands for, shape (examples,); default: 1.

    Returns
    -------
    The fitted ``Pipeline``, or the bare estimator when the recipe has no scaler.

    Raises
    ------
    NotEnoughData: no examples, or examples of one class only.
    NotFinite: the fit diverged.
    NotSupported: weights for an estimator that takes none.
    """
    _check(labels, recipe)
    given = np.ones(len(labels)) if weights is None else weights
    scaler = _fit_scaler(design, recipe)
    estimator = make_estimator(recipe.estimator, seed=recipe.seed)
    with refusals(estimator), np.errstate(over="ignore", invalid="ignore"):
        if hasattr(estimator, "partial_fit"):
            estimator = _passes(estimator, scaler, design, labels, given, recipe, progress)
        else:
            weighted = {} if weights is None else {"sample_weight": weights}
            estimator.fit(_scaled(scaler, design), labels, **weighted)
    _check_finite(estimator)
    return estimator if scaler is None else Pipeline([("scaler", scaler), ("model", estimator)])


def _check(labels: NDArray[Any], recipe: Recipe) -> None:
    if SEGMENTS in recipe.estimator or labels.dtype.kind == "f":
        if not len(labels):
            raise NotEnoughData("no examples to train on", hint="choose other moments")
        return
    counts = np.bincount(labels, minlength=2)
    if counts.min() == 0:
        raise NotEnoughData(
            f"cannot train on {counts[1]} examples with the outcome and {counts[0]} without",
            detail="both are needed",
            hint="choose more or other moments with --moments and --until",
        )


@contextmanager
def refusals(estimator: Any) -> Iterator[None]:
    """Name the cause of what scikit-learn refuses: weights that diverged, or an argument."""
    try:
        yield
    except ValueError as error:
        _check_finite(estimator)
        what = type(estimator).__name__
        if "overflow" in str(error) or "non-finite" in str(error):
            raise _diverged(f"weights of {what}") from error
        raise BadDefinition(f"{what}: {error}", hint="change the model's estimator") from error


def _diverged(what: str) -> NotFinite:
    return NotFinite(
        f"{what} are not finite: the fit diverged",
        hint="set a scaler, a smaller learning rate, or a larger alpha",
    )


def _check_finite(estimator: Any) -> None:
    for name in ("coef_", "intercept_"):
        if not np.all(np.isfinite(getattr(estimator, name, 0.0))):
            raise _diverged(f"{name} of {type(estimator).__name__}")


def _fit_scaler(design: Floats, recipe: Recipe) -> Any:
    scaler = make_scaler(recipe.scaler)
    if scaler is None:
        return None
    if not hasattr(scaler, "partial_fit"):  # quantiles cannot be learnt in batches
        return scaler.fit(design)
    for rows in _batches(np.arange(len(design)), recipe.batch):
        scaler.partial_fit(design[rows])
    return scaler


def _passes(
    estimator: Any,
    scaler: Any,
    design: Floats,
    labels: NDArray[Any],
    weights: Floats,
    recipe: Recipe,
    progress: Progress | None,
) -> Any:
    shuffle = np.random.default_rng(recipe.seed)
    passes = recipe.passes_over(len(labels))
    model = _learning(estimator)
    for done in range(1, passes + 1):
        for rows in _batches(shuffle.permutation(len(labels)), recipe.batch):
            model.learn(_scaled(scaler, design[rows]), labels[rows], weights[rows])
        if progress:
            progress(done, passes)
    return model.estimator


def _learning(estimator: Any) -> Model:
    """Return what learns; weights are averaged here, not by scikit-learn: see `averaging`."""
    if getattr(estimator, "average", False):
        return Averaged(estimator)
    clusters = type(estimator).__name__ == "MiniBatchKMeans"
    return Clusters(estimator) if clusters else Model(estimator)


def _scaled(scaler: Any, design: Floats) -> Any:
    return design if scaler is None else scaler.transform(design)


def _batches(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
