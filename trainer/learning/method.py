"""How a learner learns, what it remembers, and what cannot go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from rescore.errors import BadDefinition
from rescore.trainer.learning import scaling
from rescore.trainer.learning.batch import Batch
from rescore.trainer.learning.calibration import Platt
from rescore.trainer.learning.models import Linear, Model, Rate

HEAVIEST = 100.0
"""Largest weight of a positive beside a negative that balancing gives."""


@dataclass(frozen=True)
class Method:
    """How to learn.

    Attributes
    ----------
    estimator: one name from `rescore.trainer.estimators` and its arguments, as in the definition.
    scaler: the scaler's name, or None.
    half_life: after so long an example counts half; None for never. Its unit is that of the
        time given to `Learner.learn`.
    balance: weight of a positive example beside a negative one; ``balanced`` for as many times
        as negatives are more frequent, at most 100; None for 1. Probabilities are corrected for it.
    rate: learning rate of SGD and Perceptron instead of their own.
    seed: of estimators that draw at random.
    """

    estimator: Mapping[str, Mapping[str, Any]]
    scaler: str | None = "standard"
    half_life: float | None = None
    balance: float | Literal["balanced"] | None = None
    rate: Rate | None = None
    seed: int = 0

    def left_after(self, elapsed: float) -> float:
        """Return what is left of an example's weight after some time."""
        return 1.0 if self.half_life is None else 0.5 ** (max(elapsed, 0.0) / self.half_life)


@dataclass(frozen=True)
class Memory:
    """What a version remembers beside its weights; kept with it, as JSON.

    Attributes
    ----------
    examples, positives: how many it has learnt from, by weight, as far as not forgotten.
    calibration: slope and intercept that are folded into the artefact's weights; None for none.
    """

    examples: float = 0.0
    positives: float = 0.0
    calibration: Platt | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Memory:
        """Return the memory kept in JSON."""
        platt = data.get("calibration")
        return cls(data["examples"], data["positives"], Platt(**platt) if platt else None)

    def after(self, batch: Batch, left: float) -> Memory:
        """Return the memory after forgetting and one more batch."""
        kept = scaling.faded(self.examples, left) / self.examples if self.examples else 1.0
        return Memory(
            self.examples * kept + float(batch.weights.sum()),
            self.positives * kept + float(batch.weights @ (batch.labels == 1)),
            self.calibration,
        )


def check_method(method: Method, model: Model, scalers: list[Any]) -> None:
    """Refuse a method that an estimator and its scalers cannot follow.

    Raises
    ------
    BadDefinition: naming what does not go together.
    """
    name = type(model.estimator).__name__
    numbers = {"half_life": method.half_life, "balance": method.balance}
    numbers["eta0"] = method.rate.eta0 if method.rate else None
    for what, number in numbers.items():
        if isinstance(number, (int, float)) and not 0 < number < np.inf:
            raise BadDefinition(f"{what} is {number}", detail="It must be a number above 0.")
    if method.rate and (not isinstance(model, Linear) or name.startswith("PassiveAggressive")):
        raise BadDefinition(f"{name} has no learning rate", hint="leave the rate out")
    if method.balance is not None and getattr(model.estimator, "loss", "") == "modified_huber":
        raise BadDefinition(
            "modified_huber cannot be balanced",
            detail="Its probabilities cannot be corrected for the weights.",
            hint="use loss: log_loss",
        )
    centred = [
        each for each in scalers if type(each).__name__ in ("StandardScaler", "RobustScaler")
    ]
    if name == "MultinomialNB" and centred:
        raise BadDefinition(
            f"multinomial_nb behind {type(centred[0]).__name__}",
            detail="It counts, and this scaler gives negative values.",
            hint="set scaler: minmax, maxabs or none",
        )
