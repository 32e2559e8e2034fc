"""The canonical score of an estimator: the number everything else is compared with."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from rescore.errors import ArtefactRefused, NotFinite
from rescore.plpython import estimators

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

# Labels that say which class is the event. Others ("churned", "stayed") sort by chance.
_LABELS = ((0, 1), (False, True), (-1, 1), ("0", "1"))


def score(estimator: Any, rows: ArrayLike) -> NDArray[np.float64]:
    """Return one score per row.

    The probability of the positive class where the estimator has one, else its margin; for
    regressors the prediction.

    Parameters
    ----------
    estimator: a fitted, allow-listed predictor, alone or behind scalers in a Pipeline.
    rows: finite numbers, shape (rows, n_features_in_).

    Raises
    ------
    ArtefactRefused
        If its classes are not two, labelled 0 and 1 (or False and True, -1 and 1).
    NotFinite
        If a score is NaN or infinite.
    """
    import numpy as np

    design = np.ascontiguousarray(rows, dtype=np.float64)
    final = estimators.final_step(estimator)
    check_classes(final)
    if not len(design):
        return np.empty(0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Rows come without column names: the contract has compared those already.
        warnings.simplefilter("ignore")
        scores = _predict(final, _transform(estimator, final, design))
    return _finite(np.asarray(scores, dtype=np.float64).reshape(len(design)))


def _transform(estimator: Any, final: Any, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    for scaler in estimators.scaler_steps(estimator):
        rows = scaler.transform(rows)
    if estimators.is_one_of(final, estimators.TREES):
        # Trees read float32 and refuse what does not fit; beyond it no split can differ.
        largest = float(np.finfo(np.float32).max)
        rows = np.clip(rows, -largest, largest)
    return rows


def _predict(final: Any, rows: NDArray[np.float64]) -> Any:
    if not hasattr(final, "classes_"):
        return final.predict(rows)
    if hasattr(final, "predict_proba"):
        return final.predict_proba(rows)[:, 1]
    return final.decision_function(rows)


def check_classes(final: Any) -> None:
    """Refuse a classifier whose second class is not plainly the positive one."""
    if not hasattr(final, "classes_"):
        return
    classes = tuple(map(_plain, final.classes_))
    if len(classes) != 2:
        raise ArtefactRefused(
            f"{type(final).__name__} has {len(classes)} classes: {classes!r:.200}",
            hint="rescore scores one number: train on two classes, 0 and 1.",
        )
    if classes not in _LABELS:
        raise ArtefactRefused(
            f"{type(final).__name__} has the classes {classes[0]!r:.80} and {classes[1]!r:.80}",
            detail="The score is the probability of the second; it must be clear which that is.",
            hint="Train on the labels 0 and 1, or False and True.",
        )


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _finite(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise NotFinite(
            f"score of row {bad[0] + 1} is {scores[bad[0]]!r}",
            detail=f"{len(bad)} of {len(scores)} rows have no finite score.",
            hint="Put a scaler in front, or train longer with a smaller learning rate.",
        )
    return scores
