"""What somebody who applies a definition should know, though nothing is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident


def _unindexed(profile: Profile) -> list[str]:
    """Say which tables of labels want an index: ``apply`` makes those of counted events alone."""
    indexed = {source.relation for source in profile.sources}
    told = []
    for of in (o for outcome in profile.outcomes for o in outcome.sources):
        if of.relation in indexed or of.join or of.table.indexed_by(of.key_column):
            continue
        how = "" if of.table.kind == "p" else "CONCURRENTLY "
        key = ident(of.key_column)
        told.append(
            f"{of.relation} has no index on {key}, by which labels are read: "
            f"CREATE INDEX {how}ON {of.relation} ({key})"
        )
    return list(dict.fromkeys(told))


def notes(profile: Profile, left: Sequence[str]) -> list[str]:
    """Return one line for each.

    Parameters
    ----------
    left: columns that are used no more and stay.
    """
    told = [f"column {c} is no longer used; --drop removes it" for c in left]
    if not profile.can_create:
        told.append(
            f"{profile.relation} has columns only the application can fill: an event of a customer "
            "without a row is counted when the row is inserted"
        )
    told += _unindexed(profile)
    if profile.unknown_past:
        names = ", ".join(name for name in profile.unknown_past if name != "only")
        if names:
            told.append(f"the past of {names} is not known: past moments are learnt without")
        if "only" in profile.unknown_past:
            told.append("whom `only` let score in the past is not known: all rows are learnt from")
    return told
