"""``make torture``: put rescore through every scenario, and print what was lost."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from rich.console import Console

from rescore import console
from rescore.torture import (
    backup,
    concurrency,
    crashes,
    memory,
    pooler,
    privacy,
    replica,
    standby,
    upgrade,
)
from rescore.torture.outcome import LONG, SHORT, Outcome, Size
from rescore.torture.places import Place, place

Scenario = Callable[[Place, Size], "Outcome | list[Outcome]"]
SCENARIOS: dict[str, Scenario] = {
    "concurrency": concurrency.writers,
    "apply": concurrency.changing,
    "crash": crashes.server_killed,
    "cancel": crashes.cancelled,
    "commands": crashes.commands_killed,
    "standby": standby.promoted,
    "replica": replica.subscribed,
    "backup": backup.restored,
    "upgrade": upgrade.upgraded,
    "privacy": privacy.forgotten,
    "pooler": pooler.pooled,
    "memory": memory.flat,
}


def main() -> int:
    """Parse, run, print; 1 when anything was lost."""
    given = _parse()
    size = SHORT if given.short else LONG
    tell = Console(stderr=True, highlight=False)
    outcomes: list[Outcome] = []
    with place(python=not given.short) as where:
        for name in given.only or SCENARIOS:
            began = time.monotonic()
            outcomes += scenario(name, where, size)
            tell.print(f"{name}: {time.monotonic() - began:.0f} s")
    _show(outcomes, as_json=given.json)
    return 1 if any(o.lost for o in outcomes) else 0


def scenario(name: str, where: Place, size: Size) -> list[Outcome]:
    """Run one scenario; return what came of it, one outcome or several."""
    made = SCENARIOS[name](where, size)
    return made if isinstance(made, list) else [made]


def _show(outcomes: list[Outcome], *, as_json: bool) -> None:
    if as_json:
        console.print_json([o.to_json() for o in outcomes])
        return
    console.show([row for o in outcomes for row in o.rows()], as_json=False)
    lost = sum(len(o.lost) for o in outcomes)
    console.print_lines([f"lost: {lost or 'nothing'}"])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), help="only these scenarios")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
