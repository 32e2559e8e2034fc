"""``make torture``: put rescore through every scenario, and print what was lost."""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from rescore import console
from rescore.server.private import remove
from rescore.torture import (
    backup,
    commands,
    concurrency,
    crashes,
    memory,
    pooler,
    privacy,
    queued,
    replica,
    standby,
    upgrade,
)
from rescore.torture.outcome import LONG, SHORT, Outcome, Size
from rescore.torture.places import Place, place

Scenario = Callable[[Place, Size], "Outcome | list[Outcome]"]
SCENARIOS: dict[str, Scenario] = {
    "concurrency": concurrency.writers,
    "queue": queued.folded,
    "apply": concurrency.changing,
    "crash": crashes.server_killed,
    "cancel": crashes.cancelled,
    "commands": commands.all_killed,
    "standby": standby.promoted,
    "replica": replica.subscribed,
    "backup": backup.restored,
    "upgrade": upgrade.upgraded,
    "privacy": privacy.forgotten,
    "pooler": pooler.pooled,
    "memory": memory.flat,
}
TELL_SECONDS = 15
# Ten times what the longest takes where nothing else runs: longer than that, it hangs.
MOST_SECONDS = 1200


def main() -> int:
    """Parse, run, print; 1 when anything was lost."""
    given = _parse()
    if given.list:
        console.print_lines([f"{name}: {_about(made)}" for name, made in SCENARIOS.items()])
        return 0
    size, outcomes = SHORT if given.short else LONG, list[Outcome]()
    # As an interrupt does, it lets the servers be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    commands.warm()
    try:
        with place(python=not given.short) as where:
            for name in given.only or SCENARIOS:
                outcomes += _run(name, where, size)
    finally:
        # Also of a run that was ended early.
        ended = told(outcomes, as_json=given.json)
    return ended


def _about(made: Scenario) -> str:
    return (made.__doc__ or "").partition("\n")[0]


def _run(name: str, where: Place, size: Size) -> list[Outcome]:
    """Run one scenario; say on standard error that it begins, how long it takes, what it lost."""
    tell, began = Console(stderr=True, highlight=False, soft_wrap=True), time.monotonic()
    tell.print(f"{name}: {_about(SCENARIOS[name])}")
    with _watched(name, where, tell):
        made = SCENARIOS[name](where, size)
    outcomes = made if isinstance(made, list) else [made]
    for outcome in outcomes:
        for line in outcome.lost:
            tell.print(f"{outcome.scenario}: {line}", style="red")
    lost = sum(len(o.lost) for o in outcomes)
    tell.print(f"{name}: {time.monotonic() - began:.0f} s, lost: {lost or 'nothing'}")
    return outcomes


@contextmanager
def _watched(name: str, where: Place, tell: Console) -> Iterator[None]:
    """Say how long it has taken; end the program, showing where it stands, when it is too long."""
    over = threading.Event()

    def watch() -> None:
        for told in range(TELL_SECONDS, MOST_SECONDS, TELL_SECONDS):
            if over.wait(TELL_SECONDS):
                return
            tell.print(f"{name}: {told} s", style="dim")
        tell.print(f"{name}: hangs, and is given up")
        faulthandler.dump_traceback(all_threads=True)
        remove(where.home)
        os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def told(outcomes: Sequence[Outcome], *, as_json: bool) -> int:
    """Print what was done how often, and what was lost; return 1 when anything was."""
    lost = sum(len(o.lost) for o in outcomes)
    if as_json:
        console.print_json([o.to_json() for o in outcomes])
    else:
        console.show([row for o in outcomes for row in o.rows()], as_json=False)
        console.print_lines([f"lost: {lost or 'nothing'}"])
    return 1 if lost else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--list", action="store_true", help="only say which scenarios there are")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), help="only these scenarios")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
