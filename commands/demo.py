"""``demo``: a shop's years, replayed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rescore import console
from rescore.commands.options import Home, Json


def demo(
    home: Home = None,
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the customers.")] = False,
    loop: Annotated[
        bool, typer.Option("--loop", help="Learnt weekly by `rescore run`, beside two others.")
    ] = False,
    plots: Annotated[
        Path | None, typer.Option(help="With --loop: folder for plots.", file_okay=False)
    ] = None,
    json: Json = False,
) -> None:
    """Replay 69,659 real purchases: events, counters, scores, retraining."""
    from rescore.examples.cdnow import demo as cdnow

    if loop:
        _demo_loop(home, quick=quick, plots=plots, json=json)
        return
    result = cdnow.run(home, quick=quick, say=console.say, bar=console.progress)
    stop = " ".join(
        [console.command(), "server stop", *(["--home", shlex.quote(str(home))] if home else [])]
    )
    console.print_lines(cdnow.look_around(result, stop=stop))
    if json:
        console.print_json(result)


def _demo_loop(home: Path | None, *, quick: bool, plots: Path | None, json: bool) -> None:
    from rescore.examples.cdnow import loop, loop_plot

    result = loop.run(home, quick=quick, say=console.say, bar=console.progress)
    if plots:
        for path in loop_plot.plot(result["weekly"], plots):
            console.say(f"written: {path}")
    console.say(f"\n{result['seconds']} s in all; the server keeps running: psql '{result['dsn']}'")
    if json:
        console.print_json(result)
