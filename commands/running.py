"""``run`` and ``schedule``: what is done again and again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescore import console
from rescore.commands.options import Batch, Dsn, Json, MaxAge, Rate, SweepJobs, Tolerance

if TYPE_CHECKING:
    from rescore.trainer.run import Job
    from rescore.trainer.sweep import Terms


def run(
    every: Annotated[str, typer.Option(help="Interval between two sweeps, such as 5m.")] = "5m",
    fold_every: Annotated[str, typer.Option(help="Interval between two folds.")] = "1s",
    profile: Annotated[
        list[str] | None, typer.Option(help="Repeat for several; default: all there are.")
    ] = None,
    dsn: Dsn = None,
    max_age: MaxAge = None,
    batch: Batch = None,
    rate: Rate = None,
    tolerance: Tolerance = 0.0,
    sweep_jobs: SweepJobs = 1,
    once: Annotated[bool, typer.Option("--once", help="One round, then end.")] = False,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another runner is at work.")
    ] = False,
    alerts: Annotated[
        Path | None, typer.Option(help="YAML file: what is to be told whom.", dir_okay=False)
    ] = None,
    follow_clock: Annotated[
        bool,
        typer.Option("--follow-clock", help="Go by moments notified on channel rescore_clock."),
    ] = False,
    health_file: Annotated[
        Path | None, typer.Option(help="Kept up to date: what it does, and when it last did it.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Of unexpected errors, where they were raised.")
    ] = False,
    json: Json = False,
) -> None:
    """Fold, sweep, log, learn, judge versions and tell alerts, until SIGTERM or Ctrl-C."""
    from rescore.trainer.signals import stopped_by_signals

    with stopped_by_signals() as stop:  # first of all: importing the rest takes a second
        from rescore.trainer import run as runner
        from rescore.trainer.fold import folding
        from rescore.trainer.follow import follow
        from rescore.trainer.health_file import watching
        from rescore.trainer.loop.job import LOOK_SECONDS, Learning
        from rescore.trainer.run_log import line
        from rescore.trainer.snapshots import LOOK_SECONDS as SNAPSHOT_SECONDS
        from rescore.trainer.snapshots import Snapshotting
        from rescore.trainer.sweep import Terms

        terms = Terms(max_age, batch, rate, tolerance)
        fold = folding(dsn, fold_every, profile or ())
        sweeping = runner.sweeping(dsn, every, profile or (), terms, fold.when_due, sweep_jobs)
        jobs: list[runner.Job] = [fold, sweeping]
        jobs.append(Snapshotting(min(SNAPSHOT_SECONDS, sweeping.every), tuple(profile or ())))
        jobs.append(Learning(min(LOOK_SECONDS, sweeping.every)))
        jobs += _judging(sweeping.every, terms, alerts)
        stop.begun = True
        say = console.print_json if json else lambda facts: console.say(line(facts, traces=verbose))
        with watching(health_file, jobs, say) as (told, said):
            if follow_clock:
                failed = follow(dsn, told, say=said, stop=stop)
            else:
                failed = runner.run(dsn, told, say=said, stop=stop, once=once, standby=standby)
        raise typer.Exit(1 if once and failed else 0)


def schedule(
    profile: Annotated[str | None, typer.Argument(help="Name of the profile.")] = None,
    every: Annotated[
        str | None, typer.Option(help="As pg_cron takes it, such as '*/5 * * * *'.")
    ] = None,
    fold_every: Annotated[
        str, typer.Option(help="When to count what waits in the queue, likewise.")
    ] = "* * * * *",
    dsn: Dsn = None,
    max_age: MaxAge = None,
    batch: Batch = None,
    rate: Rate = None,
    tolerance: Tolerance = 0.0,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the profile's jobs.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List this database's jobs.")] = False,
    json: Json = False,
) -> None:
    """Let pg_cron, an extension of the server, sweep, fold and log a profile on a schedule."""
    from rescore.trainer import schedule as cron
    from rescore.trainer.sweep import Terms

    if listed:
        console.show(cron.scheduled(dsn), as_json=json, empty="no jobs")
    elif profile and remove:
        console.show_one({"profile": profile, "removed": cron.unschedule(dsn, profile)}, json)
    elif profile and every:
        terms = Terms(max_age, batch, rate, tolerance)
        jobs = cron.schedule(dsn, profile, every, terms, fold_every)
        console.show_one(
            {"profile": profile, "jobs": jobs, "every": every, "folds": fold_every}, json
        )
    else:
        raise typer.BadParameter("name a profile with --every or --remove, or use --list")


def _judging(every: float, terms: Terms, alerts: Path | None) -> list[Job]:
    """Return the jobs of `rescore run` that judge versions and, if a file says so, tell alerts."""
    from rescore.trainer.alert_rules import load
    from rescore.trainer.alerts import Alerting
    from rescore.trainer.judge import ServedQuality
    from rescore.trainer.rules import Judging

    told: list[Job] = [Alerting(every, load(alerts))] if alerts else []
    return [ServedQuality(every), Judging(every, terms), *told]
