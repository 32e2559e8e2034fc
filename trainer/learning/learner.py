"""A copy of the champion that learns: scaler, estimator, and what it remembers of the examples.

Nothing is kept that is not in the artefact or in `Memory`: a learner resumed from a version and
its memory goes on as the one that made them would have.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from rescore.plpython import estimators
from rescore.plpython.linear import Link, fold, linked
from rescore.plpython.prediction import score
from rescore.trainer.estimators import make_estimator, make_scaler
from rescore.trainer.fit import refusals
from rescore.trainer.learning import scaling
from rescore.trainer.learning.averaging import Averaged
from rescore.trainer.learning.batch import Batch
from rescore.trainer.learning.calibration import (
    Platt,
    calibrated,
    uncalibrated,
)
from rescore.trainer.learning.histogram import THRESHOLD, log_odds
from rescore.trainer.learning.kinds import kind_of
from rescore.trainer.learning.method import HEAVIEST, Memory, Method, check_method
from rescore.trainer.learning.models import Linear, Model, check_finite
from rescore.trainer.learning.target import threshold_of

Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """What a learner says of design rows, each of shape (n,).

    Attributes
    ----------
    margins: margins, or log-odds, before calibration: what a calibration is fitted on.
    scores: what its version would say.
    """

    margins: Floats
    scores: Floats


class Learner:
    """Learns batch after batch; scores as the version it would make scores.

    Attributes
    ----------
    memory: what it remembers beside its weights.
    """

    def __init__(self, method: Method, scalers: list[Any], model: Model, memory: Memory) -> None:
        self.method, self.memory = method, memory
        self._scalers, self._model = scalers, model
        self._moves = model.follows and len(scalers) == 1 and scaling.can_move(scalers[0])
        fitted = self._moves and scaling.is_fitted(scalers[0])
        self._map = scaling.Affine.of(scalers[0]) if fitted else None
        self._link: Link | None = None

    @classmethod
    def start(cls, method: Method) -> Learner:
        """Return a learner that has learnt nothing yet.

        Raises
        ------
        BadDefinition, NotSupported: the method cannot be.
        """
        scaler = make_scaler(method.scaler)
        model = _model(make_estimator(method.estimator, seed=method.seed), method, Memory())
        check_method(method, model, [] if scaler is None else [scaler])
        return cls(method, [] if scaler is None else [scaler], model, Memory())

    @classmethod
    def resume(cls, champion: Any, method: Method, memory: Memory) -> Learner:
        """Return a learner that goes on from a copy of the champion.

        Parameters
        ----------
        champion: a fitted estimator, alone or behind scalers in a Pipeline; not changed.
        memory: that of its version; of one that `rescore train` made, its examples and positives.

        Raises
        ------
        NotSupported: it is of a kind that cannot learn on, or not the definition's any more.
        """
        known = champion
        if memory.calibration is not None:
            template = make_estimator(method.estimator, seed=method.seed, checked=False)
            known = uncalibrated(champion, memory.calibration, template)
        scalers = copy.deepcopy(estimators.scaler_steps(known))
        model = _model(copy.deepcopy(estimators.final_step(known)), method, memory)
        check_method(method, model, scalers)
        return cls(method, scalers, model, memory)

    @property
    def fitted(self) -> bool:
        """Whether it has learnt anything, and so can score."""
        return self._model.fitted

    @property
    def gives_probabilities(self) -> bool:
        """Whether its scores are probabilities."""
        known = hasattr(self._model.estimator, "predict_proba")
        return known or self.memory.calibration is not None

    @property
    def threshold(self) -> float:
        """Score from which on it says that it happens."""
        return THRESHOLD if self.gives_probabilities else threshold_of(self._model.estimator)

    @property
    def clips(self) -> bool:
        """Whether its scores do not tell its margins: modified Huber's, before calibration."""
        return getattr(self._model.estimator, "loss", None) == "modified_huber"

    @property
    def estimator(self) -> Any:
        """A copy of what it has learnt, without calibration: a Pipeline, or the bare estimator."""
        final = copy.deepcopy(self._model.estimator)
        if not self._scalers:
            return final
        steps = [(_name(n), copy.deepcopy(s)) for n, s in enumerate(self._scalers)]
        return Pipeline([*steps, ("model", final)])

    def version(self, calibration: Platt | None = None) -> tuple[Any, Memory]:
        """Return the artefact to publish, and the memory to keep with it.

        Parameters
        ----------
        calibration: folded into the artefact's weights.

        Raises
        ------
        NotFinite: learning diverged.
        NotSupported: this kind of estimator cannot be calibrated.
        """
        check_finite(self._model.estimator)
        memory = replace(self.memory, calibration=calibration)
        made = self.estimator
        return (made if calibration is None else calibrated(made, calibration)), memory

    def score(self, design: Floats) -> Scores:
        """Return margins, and scores calibrated as the champion's were, of design rows.

        A linear model is scored in its linear form, as it would be by the server.
        """
        linear = self._linear()
        if linear is None:
            scores = score(self._serving(), design)
            margins = log_odds(scores) if self.gives_probabilities else scores
        else:
            weights, intercept, link = linear
            margins = design @ weights + intercept
            scores = linked(margins, link)
        platt = self.memory.calibration
        return Scores(margins, scores if platt is None else platt.apply(margins))

    def _linear(self) -> tuple[Floats, float, Link] | None:
        """Return weights and intercept for design rows, and the link; None if it is not linear."""
        if self._link is None or self._map is None:
            form = fold(self._serving())
            if form is None:
                return None
            self._link = form.link
            return np.array(form.weights), form.intercept, form.link
        # What `fold` does, which takes as long as a third of the learning.
        coefficients = self._model.estimator.coef_.ravel()
        intercept = float(self._model.estimator.intercept_[0] + coefficients @ self._map.shift)
        return coefficients * self._map.factor, intercept, self._link

    def learn(self, batch: Batch, elapsed: float = 0.0) -> None:
        """Learn a batch, in its order.

        Parameters
        ----------
        elapsed: time since the batch before, in the unit of the half-life.

        Raises
        ------
        NotFinite: learning diverged; the learner is of no more use.
        NotSupported: weights for an estimator that takes none.
        """
        left = self.method.left_after(elapsed)
        self.memory = self.memory.after(batch, left)
        self._model.forget(left)
        if len(batch):
            with np.errstate(all="ignore"):
                self._learn(batch, self._scaled(batch, left))

    def _scaled(self, batch: Batch, left: float) -> Floats:
        if self._moves:
            before, scaler = self._map, self._scalers[0]
            self._map = scaling.move(scaler, batch.design, batch.weights, left)
            if before is not None and self._model.fitted:
                self._model.follow(self._map.after(before))
            return self._map.apply(batch.design)
        design = batch.design
        for scaler in self._scalers:
            if not self._model.fitted:
                given = {"sample_weight": batch.weights} if scaling.can_move(scaler) else {}
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # columns without names
                    scaler.fit(design, **given)
            design = scaler.transform(design)
        return design

    def _learn(self, batch: Batch, design: Floats) -> None:
        heavier = self._weight_of_positives()
        weights = batch.weights if heavier == 1 else self._balanced(batch, heavier)
        # A model learns the odds of weighted examples, which are `heavier` times the true ones.
        shift = float(np.log(heavier)) if self._model.log_odds else 0.0
        with refusals(self._model.estimator):
            if self._model.fitted and shift:
                self._model.add_log_odds(shift)
            self._model.learn(design, batch.labels, weights)
            if shift:
                self._model.add_log_odds(-shift)
        check_finite(self._model.estimator)

    def _balanced(self, batch: Batch, heavier: float) -> Floats:
        """Return weights by class whose mean is 1, so that the learning rate stays as it was."""
        rate = self.memory.positives / self.memory.examples
        by_class = np.where(batch.labels == 1, heavier, 1.0) / (heavier * rate + 1 - rate)
        return batch.weights * by_class

    def _weight_of_positives(self) -> float:
        """Return the weight of a positive beside a negative, by what was learnt so far."""
        positives, negatives = self.memory.positives, self.memory.examples - self.memory.positives
        if self.method.balance is None or not self._model.balances:
            return 1.0
        if self.method.balance != "balanced":
            return self.method.balance
        if not positives or not negatives:
            return 1.0
        return min(max(negatives / positives, 1 / HEAVIEST), HEAVIEST)

    def _serving(self) -> Any:
        steps = [(_name(n), scaler) for n, scaler in enumerate(self._scalers)]
        final = self._model.estimator
        return Pipeline([*steps, ("model", final)]) if steps else final


def _name(number: int) -> str:
    return f"scaler{number + 1}" if number else "scaler"


def _model(estimator: Any, method: Method, memory: Memory) -> Model:
    kind = kind_of(estimator)
    if not issubclass(kind, Linear):
        return kind(estimator)
    if getattr(estimator, "average", False):
        return Averaged(estimator, method.rate, memory.examples, kind)
    return kind(estimator, method.rate, memory.examples)
