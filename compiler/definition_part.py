"""What all parts of a definition share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """What all parts share: unknown keys are refused, values are not converted or changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
