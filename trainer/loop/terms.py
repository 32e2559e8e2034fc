"""What a definition says of how a model learns, as the learning arithmetic takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from rescore.compiler.definition_learn import SEGMENTS, Learn
from rescore.errors import BadDefinition
from rescore.trainer.learning.checks import Limits
from rescore.trainer.learning.gate import Rules
from rescore.trainer.learning.method import Method
from rescore.trainer.learning.models import Rate
from rescore.trainer.learning.target import DEFAULTS, Target

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Terms:
    """How a model learns.

    Attributes
    ----------
    learn: the definition's own words.
    method, rules, limits: what learner and gate make of them; times are in days.
    calibrate: whether scores are calibrated.
    target: what the model tells.
    held_out: share of the customers that is never treated, where these stand for those who are;
        None where treated customers are left out.
    """

    learn: Learn
    method: Method
    rules: Rules
    limits: Limits
    calibrate: bool
    target: Target
    held_out: float | None = None

    @classmethod
    def of(
        cls,
        spec: Mapping[str, Any],
        *,
        number: bool = False,
        interventions: Mapping[str, Any] | None = None,
    ) -> Terms:
        """Return the terms of a model's part of a stored definition.

        Parameters
        ----------
        number: whether its label is one.
        interventions: that part of the definition.

        Raises
        ------
        BadDefinition: it was applied by a version of rescore that understood it otherwise.
        """
        target = target_of(spec, number=number)
        learn = _stored(spec.get("learn") or {})
        limits = Limits(learn.limits.weights, learn.limits.scores)
        platt = spec.get("calibrate") == "platt"
        rules, held_out = _rules(learn, target), weighed(interventions)
        return cls(learn, _method(spec, learn), rules, limits, platt, target, held_out)


def _stored(learn: Mapping[str, Any]) -> Learn:
    try:
        return Learn.model_validate(learn)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise BadDefinition(
            "what the stored definition says under learn is not what this version takes",
            detail="; ".join(wrong),
            hint="mend it in the definition file, and run `rescore apply` again",
        ) from error


def _method(spec: Mapping[str, Any], learn: Learn) -> Method:
    return Method(
        spec["estimator"],
        spec.get("scaler"),
        half_life=learn.half_life / DAY if learn.half_life else None,
        balance=learn.balance,
        rate=Rate(learn.rate.eta0, learn.rate.alpha) if learn.rate else None,
    )


def target_of(spec: Mapping[str, Any], *, number: bool) -> Target:
    """Return what a model tells, by its part of a stored definition."""
    if spec.get("label") is None and SEGMENTS in spec["estimator"]:
        return "segments"
    return "number" if number else "outcome"


def weighed(interventions: Mapping[str, Any] | None) -> float | None:
    """Return the holdout's share, where it stands for those treated; else None."""
    given = interventions or {}
    return float(given["holdout"]) if given.get("treated") == "weight" else None


def _rules(learn: Learn, target: Target) -> Rules:
    return Rules(
        metric=learn.metric or DEFAULTS[target],
        margin=learn.margin,
        confidence=learn.confidence,
        customers=learn.minimum.customers,
        positives=learn.minimum.positives,
        negatives=learn.minimum.negatives,
    )
