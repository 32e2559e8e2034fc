"""The file that says what ``rescore run`` is to tell whom: rules, a command, a webhook."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from rescore.compiler.definition_errors import bad_definition, refuse, translate
from rescore.compiler.definition_labels import of_percent
from rescore.compiler.definition_part import Part
from rescore.compiler.definition_types import Interval, Number, Text
from rescore.compiler.places import read
from rescore.errors import BadDefinition


class Tell(Part):
    """Who is told."""

    command: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] | None = Field(
        None, description="program and arguments, no shell; the alert comes as JSON on its input"
    )
    webhook: Text | None = Field(None, description="address that the alert is posted to as JSON")
    timeout: Annotated[float, Field(gt=0, le=300)] = Field(20.0, description="seconds")

    @field_validator("webhook")
    @classmethod
    def _is_web(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise refuse(f"{value!r} is no web address", "https://…")
        return value

    @model_validator(mode="after")
    def _tells(self) -> Tell:
        if self.command is None and self.webhook is None:
            raise refuse("nobody is told", "`command`, `webhook` or both.")
        return self


class Health(Part):
    """A check of `rescore.health` is not well."""

    status: Literal["warning", "error"] = Field("warning", description="from which status on")


class Quality(Part):
    """A model's quality on resolved snapshots is surely worse than it should be."""

    metric: Literal["auc", "pr_auc", "log_loss", "brier", "r2", "mse", "rmse", "mae"] = Field(
        "auc", description="of what; the last four of models whose label is a number"
    )
    worse_than: Number = Field(description="the bound")
    within: Interval = Field(timedelta(days=90), description="snapshots no older than this")


class Judged(Part):
    """A version is judged to have served worse than the one whose place it took."""

    serving: bool = Field(False, description="only of versions that still serve")
    within: Interval = Field(timedelta(days=90), description="judged no longer ago than this")


class Drift(Part):
    """A column has moved away from training."""

    psi: Annotated[Number, Field(gt=0)] = Field(
        0.25, description="population stability index, above what chance alone makes"
    )
    changed: bool = Field(
        False, description="also what the streaming detector saw change, such as `loss`"
    )


class Stale(Part):
    """Too many rows have scores marked stale, or older than they should be."""

    share: Annotated[float, BeforeValidator(of_percent), Field(ge=0, lt=1)] = Field(
        description="more than this share of rows, such as 5%"
    )
    older_than: Interval | None = Field(None, description="a score of an earlier moment is stale")


class Latency(Part):
    """Scoring one customer by key takes too long."""

    ms: Annotated[Number, Field(gt=0)] = Field(description="median of twenty calls, in ms")


class Rules(Part):
    """What is looked at; each of them optional."""

    health: Health | None = Field(None, description="checks of `rescore.health`")
    quality: Quality | None = Field(None, description="live quality of each model")
    judged: Judged | None = Field(None, description="versions of `rescore.served_quality`")
    drift: Drift | None = Field(None, description="columns of `rescore.feature_drift`")
    stale: Stale | None = Field(None, description="rows of each profile")
    latency: Latency | None = Field(None, description="`rescore.predict_key` of each model")


class Alerts(Part):
    """The whole file."""

    tell: Tell = Field(description="who is told")
    rules: Rules = Field(description="what is looked at")


def load(path: Path) -> Alerts:
    """Return the alerts written in a YAML file.

    Raises
    ------
    BadDefinition: anything wrong, each with line, column and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadDefinition(
            f"{path}: cannot be read: {error}", hint="Give the path of a UTF-8 text file."
        ) from None
    value, places = read(text, str(path))
    try:
        return Alerts.model_validate(value)
    except ValidationError as error:
        raise bad_definition(translate(error, _allowed()), places) from None


def _allowed() -> dict[tuple[str | int, ...], list[str]]:
    parts: dict[tuple[str | int, ...], type[Part]] = {
        (): Alerts,
        ("tell",): Tell,
        ("rules",): Rules,
        ("rules", "health"): Health,
        ("rules", "quality"): Quality,
        ("rules", "judged"): Judged,
        ("rules", "drift"): Drift,
        ("rules", "stale"): Stale,
        ("rules", "latency"): Latency,
    }
    return {path: list(part.model_fields) for path, part in parts.items()}
