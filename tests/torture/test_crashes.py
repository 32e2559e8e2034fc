"""Short versions of `make torture`: what is killed or cancelled loses nothing."""

from __future__ import annotations

import pytest

from rescore.torture import commands, crashes
from rescore.torture.outcome import SHORT
from rescore.torture.places import Place

from .conftest import nothing_lost

WRITES = ("single inserts", "multi-row inserts", "updates")


@pytest.mark.long
def test_a_server_killed_under_load_loses_nothing_that_was_confirmed(torn: Place) -> None:
    outcome = crashes.server_killed(torn, SHORT)
    nothing_lost(outcome, *WRITES, "servers killed", "connections lost", "sweeps")


def test_statements_cancelled_at_any_moment_change_nothing(torn: Place) -> None:
    outcome = crashes.cancelled(torn, SHORT)
    nothing_lost(outcome, *WRITES, "statements cancelled", "jobs cut short")


@pytest.mark.long
def test_commands_killed_in_the_middle_are_begun_again(torn: Place) -> None:
    outcome = commands.all_killed(torn, SHORT)
    names = ("install", "apply", "sweep", "fold", "snapshot", "learn")
    kills = [name for name in names if outcome.done[f"{name} killed"]]
    nothing_lost(outcome, *WRITES)
    assert len(kills) >= 3, kills
