"""A model's label: what its function in the database says of customers at past moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from rescore.errors import NotInstalled
from rescore.trainer.database import Connection, one, query


@dataclass(frozen=True)
class Label:
    """A label of a profile; the generated function answers for it, here and for snapshots.

    Attributes
    ----------
    name: of the label.
    within: how far it looks ahead of a moment, as the definition says it.
    seconds: after a moment, until its outcome is settled.
    slug: prefix of the profile's functions.
    """

    name: str
    within: str
    seconds: float
    slug: str

    @property
    def outcomes(self) -> sql.Identifier:
        """The function that says what came of customers at moments."""
        return sql.Identifier("rescore_compiled", f"{self.slug}__outcomes")

    @property
    def begin(self) -> sql.Identifier:
        """The function that says when the first event was that the label looks for."""
        return sql.Identifier("rescore_compiled", f"{self.slug}__outcomes_begin")


def read_label(
    conn: Connection, definition: Mapping[str, Any], plan: Mapping[str, Any], slug: str, name: str
) -> Label:
    """Return a label of a profile as it was applied.

    Parameters
    ----------
    definition, plan: as stored with the profile.
    slug: prefix of the profile's functions.

    Raises
    ------
    NotInstalled: the profile was applied by an older version.
    """
    stored = (plan.get("labels") or {}).get(name)
    made = Label(name, definition["labels"][name]["within"], (stored or {}).get("seconds", 0), slug)
    if stored is None or not one(conn, query("outcomes_there"), (f"{slug}__outcomes",)):
        raise NotInstalled(
            f'label "{name}" is not of this version of rescore',
            detail=f"rescore_compiled.{slug}__outcomes is missing.",
            hint="run `rescore apply` with the profile's definition",
        )
    return made
