"""What is wrong in how a command was called, said before anything is done."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from difflib import get_close_matches

import psycopg

from rescore.errors import ArtefactRefused, RescoreError, UnknownModel, UnknownProfile
from rescore.trainer.database import Connection, one, query


class WrongUsage(RescoreError):
    """An argument that cannot be meant."""

    exit_code = 2


class NoArtefact(ArtefactRefused):
    """The file named is not there, or its name is no artefact's."""

    exit_code = 2


def check_interval(conn: Connection, text: str, option: str) -> None:
    """Refuse a text that is not an interval above zero.

    Parameters
    ----------
    option: what the user wrote it after, such as ``--moments``.

    Raises
    ------
    WrongUsage: naming the option and the text.
    """
    hint = 'write an interval such as "2 weeks" or "1 month"'
    try:
        if one(conn, query("interval"), (text,)):
            return
    except psycopg.DataError as error:
        said = error.diag.message_primary or ""
        raise WrongUsage(f'{option} "{text}" is not an interval', detail=said, hint=hint) from error
    raise WrongUsage(f'{option} "{text}" is not an interval above zero', hint=hint)


def seconds(conn: Connection, text: str, option: str) -> float:
    """Return how many seconds an interval above zero has.

    Raises
    ------
    WrongUsage: naming the option and the text.
    """
    check_interval(conn, text, option)
    return float(one(conn, query("seconds"), (text,)))


def share_of(text: str) -> float:
    """Return a share written as ``10%`` or ``0.1``.

    Raises
    ------
    WrongUsage: it is neither.
    """
    number = text.strip().removesuffix("%")
    try:
        return float(number) / (100 if number != text.strip() else 1)
    except ValueError:
        raise WrongUsage(f'"{text}" is no share', hint="write 10% or 0.1") from None


def check_model(conn: Connection, model: str) -> None:
    """Raise UnknownModel for a name that was never a model's; one that was removed may be asked."""
    if model not in {name for name, *_ in conn.execute(query("known_models"))}:
        raise unknown_model(conn, model)


def unknown_model(conn: Connection, model: str) -> UnknownModel:
    """Return the error for a name that is no model's, or no longer, with those that are."""
    found = conn.execute(query("known_models")).fetchall()
    for profile in (p for name, p, is_defined in found if name == model and not is_defined):
        return UnknownModel(
            f'model "{model}" is no longer defined',
            detail=f"Profile {profile} was applied without it; its versions and snapshots stayed.",
            hint="define it again, and run `rescore apply`",
        )
    known = [name for name, _, is_defined in found if is_defined]
    return UnknownModel(
        f'unknown model "{model}"',
        detail=f"Known models: {', '.join(known) or 'none'}.",
        hint=_meant(get_close_matches(model, known, n=1))
        or "`rescore apply` makes the models of a definition",
    )


def check_profiles(conn: Connection, profiles: Sequence[str]) -> None:
    """Refuse names that are no profile's.

    Raises
    ------
    UnknownProfile: for the first of them.
    """
    known = {name for (name,) in conn.execute(query("known_profiles"))}
    for unknown in (name for name in profiles if name not in known):
        raise unknown_profile(conn, unknown)


def unknown_profile(conn: Connection, profile: str) -> UnknownProfile:
    """Return the error for a name that is no profile's, with those that are."""
    known = [name for (name,) in conn.execute(query("known_profiles"))]
    elsewhere = [name for name in known if _bare(name) == _bare(profile)]
    return UnknownProfile(
        f'unknown profile "{profile}"',
        detail=f"Known profiles: {', '.join(known) or 'none'}.",
        hint=_meant(elsewhere or get_close_matches(profile, known, n=1))
        or "`rescore apply` makes the profile of a definition",
    )


def _bare(name: str) -> str:
    """Return the name of a table without its schema, quotes and capitals."""
    return name.rpartition(".")[2].strip('"').lower()


def _meant(names: Sequence[str]) -> str:
    if not names:
        return ""
    # A name with double quotes in it is written for the shell.
    name = shlex.quote(names[0]) if '"' in names[0] else f'"{names[0]}"'
    return f"did you mean {name}?"
