"""When a model's versions take turns by themselves: promotion, demotion and rollback by rule."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from rescore.compiler.definition_errors import refuse
from rescore.compiler.definition_labels import Share
from rescore.compiler.definition_part import Part
from rescore.compiler.definition_types import Interval

Margin: TypeAlias = Annotated[float, Field(ge=0, le=1e6)]


class Traffic(Part):
    """Rules over resolved snapshots; `rescore run` evaluates them, and nothing acts without one."""

    metric: Literal["log_loss", "brier", "auc", "pr_auc", "r2", "mse", "rmse", "mae"] | None = (
        Field(None, description="by which versions are compared; default: log_loss, r2 for numbers")
    )
    challenge: Share | None = Field(
        None, description="let what `learn: {publish: false}` records challenge with this share"
    )
    promote: Margin | None = Field(
        None, description="promote the challenger once it is surely better by more than this"
    )
    demote: Margin | None = Field(
        None, description="end the challenge once it is surely worse by more than this"
    )
    rollback: Margin | None = Field(
        None,
        description="roll back once the champion is surely worse than its predecessor by more",
    )
    judged: Margin | None = Field(
        None,
        description="roll back once the champion is judged surely worse, by more than this, "
        "than the version whose place it took",
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.95, description="how sure, however often it is looked"
    )
    effect: Annotated[float, Field(gt=0, le=1e6)] = Field(
        0.02, description="difference that the test is to find soonest, in the metric's unit"
    )
    customers: Annotated[int, Field(ge=20)] = Field(
        200, description="fewest different customers before a rule acts"
    )
    cool_down: Interval = Field(
        timedelta(days=7), description="after a rule has acted, none acts for so long"
    )

    @model_validator(mode="after")
    def _acts(self) -> Traffic:
        rules = (self.challenge, self.promote, self.demote, self.rollback, self.judged)
        if all(rule is None for rule in rules):
            raise refuse(
                "no rule acts", "`promote`, `demote`, `rollback`, `judged` or `challenge`."
            )
        if self.challenge == 1:
            raise refuse("a challenger cannot serve everybody", "Less than 100%.", key="challenge")
        return self
