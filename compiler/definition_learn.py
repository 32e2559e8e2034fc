"""How a model learns on from resolved snapshots: the part ``learn`` of a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from rescore.compiler.definition_errors import Problem, did_you_mean, refuse, unknown
from rescore.compiler.definition_part import Part
from rescore.compiler.definition_types import Interval, Names
from rescore.compiler.intervals import parse_interval

if TYPE_CHECKING:
    from rescore.compiler.definition import Definition
    from rescore.compiler.definition_models import Model

METRICS = (
    "log_loss", "brier", "auc", "pr_auc", "accuracy", "precision", "recall", "f1", "ece",
)  # fmt: skip
"""By which a candidate can be compared; besides, ``precision@10%``, ``recall@500`` and the like."""

NUMBER_METRICS = ("r2", "mse", "rmse", "mae")
"""The same where the label is a number; the first is the default."""

SEGMENT_METRICS = ("distance",)
"""The same for segments, which have no label."""

LEARNERS = (
    "sgd_classifier", "sgd_regressor", "perceptron", "passive_aggressive_classifier",
    "passive_aggressive_regressor", "gaussian_nb", "bernoulli_nb", "multinomial_nb",
    "mini_batch_k_means", "mlp_classifier", "mlp_regressor",
)  # fmt: skip
"""Estimators that learn on, batch after batch."""

REGRESSORS = ("sgd_regressor", "passive_aggressive_regressor", "mlp_regressor")
"""Those of them that learn a label which is a number; more can be trained once."""

SEGMENTS = "mini_batch_k_means"

CALIBRATED = (
    "sgd_classifier", "sgd_regressor", "perceptron", "passive_aggressive_classifier",
    "passive_aggressive_regressor", "mlp_classifier",
)  # fmt: skip

_ON_TOP = re.compile(r"(precision|recall)@([1-9]\d*(\.\d+)?%|[1-9]\d*)")
_SHARE = re.compile(r"(\d{1,2}(?:\.\d+)?)%")


def share_of(text: str) -> float | None:
    """Return the share that a text such as ``20%`` names; None for anything else."""
    found = _SHARE.fullmatch(text)
    return float(found[1]) / 100 if found else None


def _as_share(value: Any) -> Any:
    share = share_of(value) if isinstance(value, str) else None
    if not share:
        raise refuse(f"{value!r} is no share", "Text such as 5%, above 0 and below 100.")
    return value


def _as_test(value: Any) -> Any:
    if isinstance(value, str) and "%" in value:
        return _as_share(value)
    try:
        length = parse_interval(value) if isinstance(value, str) else timedelta()
    except ValueError as error:
        raise refuse(f"`test`: {error}", "20% of the customers, or the newest 30 days.") from None
    if not length:
        raise refuse(f"`test`: {value!r} is wrong", "20% of the customers, or the newest 30 days.")
    return value


def _as_metric(value: Any) -> Any:
    known = (*METRICS, *NUMBER_METRICS, *SEGMENT_METRICS)
    if isinstance(value, str) and (value in known or _ON_TOP.fullmatch(value)):
        return value
    expected = f"One of {', '.join(known)}, precision@10%, recall@500 and the like."
    raise refuse(f'unknown metric "{value}"', expected, did_you_mean(str(value), known))


def _as_time(value: Any) -> Any:
    if isinstance(value, timedelta) and not value:
        raise refuse("no time at all", "Longer than 0 seconds.")
    return value


Share: TypeAlias = Annotated[str, BeforeValidator(_as_share)]
Test: TypeAlias = Annotated[str, BeforeValidator(_as_test)]
MetricName: TypeAlias = Annotated[str, BeforeValidator(_as_metric)]
Positive: TypeAlias = Annotated[float, Field(gt=0, le=1e100)]
Length: TypeAlias = Annotated[Interval, AfterValidator(_as_time)]


class Rate(Part):
    """A learning rate that falls: eta0 / (1 + alpha t) after t examples."""

    eta0: Positive = Field(description="rate at first")
    alpha: float = Field(0.0, ge=0, le=1e100, description="how fast it falls; 0: not at all")


class Minimum(Part):
    """How much there must be to test on, in different customers."""

    customers: int = Field(200, ge=2, description="different customers")
    positives: int = Field(30, ge=1, description="customers with the outcome")
    negatives: int = Field(30, ge=1, description="customers without it")


class Limits(Part):
    """How far a candidate may be from the champion, whatever its metric says."""

    weights: Positive = Field(
        5.0, description="change of the standardized weights, by the length of the champion's"
    )
    scores: Positive = Field(
        1.0, description="stability index between both models' scores of the same examples"
    )


class When(Part):
    """What starts a round of learning in `rescore run`; any of these does."""

    every: Length | None = Field(None, description="so long after the last round")
    labels: int | None = Field(None, ge=1, description="after so many new labels")
    request: bool = Field(True, description="when `rescore.request_learning` is called")
    quality: Positive | None = Field(
        None, description="when the metric of what is served is worse by so much than when tested"
    )
    drift: Positive | None = Field(
        None, description="when a column's stability index, less what is chance, exceeds this"
    )


class Learn(Part):
    """How a model learns on."""

    when: When = Field(
        When.model_validate({"every": "1 day"}), description="what starts a round in `rescore run`"
    )
    batch: int = Field(500, ge=1, le=100_000, description="examples of a micro-batch")
    examples: int | None = Field(
        None, ge=1, description="a round is exactly so many examples; default: all full batches"
    )
    half_life: Length | None = Field(None, description="after so long an example counts half")
    balance: Positive | Literal["balanced"] | None = Field(
        None, description="weight of a positive example: a number, or `balanced`"
    )
    rate: Rate | None = Field(None, description="learning rate in place of the estimator's own")
    test: Test = Field(
        "20%", description="share of the customers never learnt from, or the newest `30 days`"
    )
    metric: MetricName | None = Field(
        None,
        description="by which a candidate is compared; default: log_loss, r2 for numbers, "
        "distance for segments",
    )
    margin: float = Field(
        0.01, ge=-1e100, le=1e100, description="how much worse it may be; below 0: must be better"
    )
    confidence: float = Field(0.95, ge=0.5, lt=1, description="how sure that must be")
    minimum: Minimum = Field(
        Minimum.model_validate({}), description="how many customers there must be to test on"
    )
    limits: Limits = Field(
        Limits.model_validate({}), description="how far a candidate may be from the champion"
    )
    segments: Names = Field((), description="features with categories: calibrated in each, too")
    suspect: Share = Field(
        "5%", description="from so many implausible rows on, the whole batch is quarantined"
    )
    after_refusal: Literal["auto", "line", "champion"] = Field(
        "auto",
        description="what it goes on from: the refused candidate (`line`), the `champion`, or "
        "the champion where the candidate is surely worse or out of limits (`auto`)",
    )
    publish: bool = Field(True, description="`false`: what passes the gate is only recorded")

    @property
    def test_share(self) -> float | None:
        """Share of the customers to test on; None when the newest time is tested on."""
        return share_of(self.test)

    @property
    def test_length(self) -> timedelta:
        """How long a time to test on; nothing when customers are."""
        return timedelta() if self.test_share else parse_interval(self.test)

    @property
    def suspect_share(self) -> float:
        """Share of implausible rows from which on a batch is quarantined."""
        return share_of(self.suspect) or 0.0


def learn_problems(definition: Definition) -> Iterator[Problem]:
    """Yield what does not hold between how models learn and the rest of the definition."""
    for name, model in definition.models.items():
        yield from _calibration(name, model)
        if model.learn is not None:
            yield from _estimator(name, model)
            yield from _segments(definition, name, model.learn)
            yield from _metric(definition, name, model.learn)
        yield from _number(definition, name, model)
        yield from _traffic(definition, name, model)


def _calibration(name: str, model: Model) -> Iterator[Problem]:
    if model.calibrate and model.estimator_name not in CALIBRATED:
        yield Problem(
            ("models", name, "calibrate"),
            f"{model.estimator_name} cannot be calibrated",
            f"One of {', '.join(CALIBRATED)}.",
        )


def _estimator(name: str, model: Model) -> Iterator[Problem]:
    if model.label is None and not model.is_segments:
        yield Problem(("models", name, "learn"), f"model {name} has no label to learn")
    if model.estimator_name not in LEARNERS:
        yield Problem(
            ("models", name, "learn"),
            f"{model.estimator_name} cannot learn on from new examples",
            f"One of {', '.join(LEARNERS)}.",
            "Leave `learn` out, and train again with `rescore train`.",
        )


def _learns_number(definition: Definition, model: Model) -> bool:
    label = definition.labels.get(model.label or "")
    return label is not None and label.is_number


def _metric(definition: Definition, name: str, learn: Learn) -> Iterator[Problem]:
    model = definition.models[name]
    if learn.metric is None:
        return
    known: tuple[str, ...] = METRICS
    what = "whether something happens"
    if model.label is None:
        what, known = "no label", SEGMENT_METRICS
    elif _learns_number(definition, model):
        what, known = "a number", NUMBER_METRICS
    if learn.metric not in known and not (known is METRICS and _ON_TOP.fullmatch(learn.metric)):
        path = ("models", name, "learn", "metric")
        yield Problem(
            path,
            f"{learn.metric} does not measure model {name}, which learns {what}",
            f"One of {', '.join(known)}.",
        )


def _traffic(definition: Definition, name: str, model: Model) -> Iterator[Problem]:
    """Yield what versions cannot be compared by."""
    path = ("models", name, "traffic")
    if model.traffic is None:
        return
    if model.label is None:
        yield Problem(path, f"model {name} has no label to compare versions by")
        return
    number = _learns_number(definition, model)
    if number and model.traffic.judged is not None:
        yield Problem((*path, "judged"), f"label {model.label} is a number: nothing is judged")
    metric = model.traffic.metric
    if metric is not None and metric not in (NUMBER_METRICS if number else METRICS):
        yield Problem((*path, "metric"), f"{metric} does not measure label {model.label}")


def _number(definition: Definition, name: str, model: Model) -> Iterator[Problem]:
    """Yield what does not go with a label that is a number."""
    if not _learns_number(definition, model):
        return
    estimator = model.estimator_name
    if not estimator.endswith("_regressor") and estimator not in ("linear_regression", "ridge"):
        yield Problem(
            ("models", name, "estimator"),
            f"{estimator} does not learn a number, which label {model.label} is",
            f"One of {', '.join(REGRESSORS)}, or another regressor.",
        )
    if model.calibrate:
        calibrate = ("models", name, "calibrate")
        yield Problem(
            calibrate, f"label {model.label} is a number: there is no probability to correct"
        )
    if model.learn is not None and model.learn.balance is not None:
        balance = ("models", name, "learn", "balance")
        yield Problem(balance, f"label {model.label} is a number: it has no positives to weigh")


def _segments(definition: Definition, name: str, learn: Learn) -> Iterator[Problem]:
    known = definition.models[name].feature_names(definition)
    for segment in learn.segments:
        path = ("models", name, "learn", "segments")
        if segment not in known:
            yield unknown(path, "feature", segment, known)
        elif definition.features[segment].one_hot is None:
            yield Problem(path, f"feature {segment} has no categories", "A feature with `one_hot`.")
