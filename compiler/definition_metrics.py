"""Metrics that a model's scores cannot be measured by, told before anything is learnt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rescore.compiler.definition_errors import Problem

if TYPE_CHECKING:
    from rescore.compiler.definition import Definition
    from rescore.compiler.definition_models import Model

OF_PROBABILITIES = ("log_loss", "brier", "ece")
"""Metrics that need probabilities; the first is the default."""

MARGINS = (
    "perceptron", "passive_aggressive_classifier", "ridge_classifier", "linear_regression", "ridge",
)  # fmt: skip
"""Estimators, beside regressors, that give none."""


def metric_problems(definition: Definition) -> Iterator[Problem]:
    """Yield what asks for probabilities of a model whose scores are none."""
    for name, model in definition.models.items():
        label = definition.labels.get(model.label or "")
        if label is not None and not label.is_number and not gives_probabilities(model):
            yield from _of_margins(name, model)


def _of_margins(name: str, model: Model) -> Iterator[Problem]:
    for part, rules in (("learn", model.learn), ("traffic", model.traffic)):
        if rules is None or (rules.metric or OF_PROBABILITIES[0]) not in OF_PROBABILITIES:
            continue
        metric = rules.metric or OF_PROBABILITIES[0]
        yield Problem(
            ("models", name, part, *(["metric"] if rules.metric else [])),
            f"{metric} needs probabilities; {model.estimator_name} of model {name} gives none",
            "`calibrate: platt`, or `metric: auc`.",
        )


def gives_probabilities(model: Model) -> bool:
    """Say whether a model's scores are probabilities."""
    name = model.estimator_name
    if model.calibrate is not None:
        return True
    if name == "sgd_classifier":
        return model.estimator_parameters.get("loss", "hinge") in ("log_loss", "modified_huber")
    return not name.endswith("_regressor") and name not in MARGINS
