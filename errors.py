"""Every error rescore raises: one class per SQLSTATE of class ``RS``.

The same table stands in ``docs/errors.md``. SQL raises the SQLSTATE, Python the class;
:func:`from_database` turns the first into the second.
"""

from __future__ import annotations

import re
from typing import ClassVar


class RescoreError(Exception):
    """Base of all errors.

    Attributes
    ----------
    message: what was wrong, naming the offending value.
    detail: what was expected.
    hint: what to do.
    sqlstate: five characters, class ``RS``.
    exit_code: what the command line exits with (1 failed, 2 wrong usage, 3 refused by a gate).
    """

    sqlstate: ClassVar[str] = "RS000"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.detail:
            lines.append(f"DETAIL: {self.detail}")
        if self.hint:
            lines.append(f"HINT: {self.hint}")
        return "\n".join(lines)


class UnknownModel(RescoreError):
    """No model of that name is defined, or it is no longer."""

    sqlstate = "RS001"


class ArtefactRefused(RescoreError):
    """The file is not one rescore will load: foreign class, damaged, too large, wrong digest."""

    sqlstate = "RS002"
    exit_code = 3


class ParityFailed(RescoreError):
    """The compiled scorer, the artefact and the trainer's numbers do not agree to 1e-9."""

    sqlstate = "RS003"
    exit_code = 3


class ContractViolated(RescoreError):
    """The artefact's columns are not the model's features."""

    sqlstate = "RS004"
    exit_code = 3


class NotFinite(RescoreError):
    """A weight or prediction is NaN or infinite."""

    sqlstate = "RS005"
    exit_code = 3


class UnknownVersion(RescoreError):
    """The model has no such version."""

    sqlstate = "RS006"


class PythonMissing(RescoreError):
    """PL/Python, or rescore inside it, is not available in this database."""

    sqlstate = "RS007"


class UnknownProfile(RescoreError):
    """No profile of that name is defined."""

    sqlstate = "RS008"


class BadFeature(RescoreError):
    """A payload names an unknown feature or carries a value of the wrong type."""

    sqlstate = "RS009"


class NothingToRollBack(RescoreError):
    """The deployment history has no earlier version."""

    sqlstate = "RS010"


class BadDefinition(RescoreError):
    """The definition file is wrong in itself: typo, unknown key, bad value."""

    sqlstate = "RS011"
    exit_code = 2


class NotSupported(RescoreError):
    """The definition asks for something this version of rescore does not do."""

    sqlstate = "RS012"
    exit_code = 2


class BadKey(RescoreError):
    """A key is not of the profile's key type."""

    sqlstate = "RS013"


class DoesNotFit(RescoreError):
    """The definition does not fit the database: missing table or column, wrong type, name taken."""

    sqlstate = "RS014"


class NotInstalled(RescoreError):
    """The database has no rescore schema, or one of another version."""

    sqlstate = "RS015"


class NotAllowed(RescoreError):
    """The role lacks a privilege the command needs."""

    sqlstate = "RS016"


class NoServer(RescoreError):
    """No PostgreSQL answers at the address given, or the private server cannot start."""

    sqlstate = "RS017"


class Busy(RescoreError):
    """A lock was not had in the time allowed."""

    sqlstate = "RS018"


class NotEnoughData(RescoreError):
    """Too few examples, or examples of one class only, to train or measure."""

    sqlstate = "RS019"


class WrongArgument(RescoreError):
    """An argument of a function is not one it takes."""

    sqlstate = "RS020"
    exit_code = 2


class SignatureRefused(RescoreError):
    """No key registered in the database has signed what is to be published."""

    sqlstate = "RS021"
    exit_code = 3


class UnknownConsumer(RescoreError):
    """No consumer of the outbox of that name is registered."""

    sqlstate = "RS022"


class ForeignPlace(RescoreError):
    """A consumer's place in the outbox is of another database or server: it came with a dump."""

    sqlstate = "RS023"


class ExtensionMissing(RescoreError):
    """An extension of PostgreSQL that this needs is not there."""

    sqlstate = "RS024"


class UnknownSnapshot(RescoreError):
    """No snapshot of that number, or of that customer by that moment, is kept."""

    sqlstate = "RS025"


class Forgotten(RescoreError):
    """A new profile row is of somebody who was forgotten."""

    sqlstate = "RS026"


class Paused(RescoreError):
    """The profile is paused: nothing of it is counted or scored until it is resumed."""

    sqlstate = "RS027"


def _subclasses(cls: type[RescoreError]) -> dict[str, type[RescoreError]]:
    return {sub.sqlstate: sub for sub in cls.__subclasses__()}


BY_SQLSTATE: dict[str, type[RescoreError]] = _subclasses(RescoreError)


def from_database(sqlstate: str, message: str, detail: str = "", hint: str = "") -> RescoreError:
    """Return the exception for a SQLSTATE of class ``RS`` (the base class when unknown)."""
    return BY_SQLSTATE.get(sqlstate, RescoreError)(message, detail=detail, hint=hint)


def unprefixed(message: str) -> str:
    """Return a message without what PL/Python puts before those that pass through it."""
    return re.sub(r"^(?:plpy\.(?:SPI)?Error: )+", "", message)
