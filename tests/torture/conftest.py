"""One private server for all scenarios, which they may kill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rescore.torture.commands import warm
from rescore.torture.outcome import Outcome
from rescore.torture.places import Place, place


@pytest.fixture(scope="session")
def torn() -> Iterator[Place]:
    """A private server of the torture's own, with the shop as a template."""
    warm()
    with place(python=False) as made:
        yield made


def nothing_lost(outcome: Outcome, *done: str) -> None:
    """Nothing was lost, and each of these was done at least once."""
    assert outcome.lost == []
    assert [what for what in done if not outcome.done[what]] == []
