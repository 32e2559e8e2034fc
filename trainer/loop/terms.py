"""What a definition says of how a model learns, as the learning arithmetic takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rescore.compiler.definition_learn import Learn
from rescore.trainer.learning.checks import Limits
from rescore.trainer.learning.gate import Rules
from rescore.trainer.learning.method import Method
from rescore.trainer.learning.models import Rate

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Terms:
    """How a model learns.

    Attributes
    ----------
    learn: the definition's own words.
    method, rules, limits: what learner and gate make of them; times are in days.
    calibrate: whether scores are calibrated.
    """

    learn: Learn
    method: Method
    rules: Rules
    limits: Limits
    calibrate: bool

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Terms:
        """Return the terms of a model's part of a stored definition."""
        learn = Learn.model_validate(spec.get("learn") or {})
        limits = Limits(learn.limits.weights, learn.limits.scores)
        platt = spec.get("calibrate") == "platt"
        return cls(learn, _method(spec, learn), _rules(learn), limits, platt)


def _method(spec: Mapping[str, Any], learn: Learn) -> Method:
    return Method(
        spec["estimator"],
        spec.get("scaler"),
        half_life=learn.half_life / DAY if learn.half_life else None,
        balance=learn.balance,
        rate=Rate(learn.rate.eta0, learn.rate.alpha) if learn.rate else None,
    )


def _rules(learn: Learn) -> Rules:
    return Rules(
        metric=learn.metric,
        margin=learn.margin,
        confidence=learn.confidence,
        customers=learn.minimum.customers,
        positives=learn.minimum.positives,
        negatives=learn.minimum.negatives,
    )
