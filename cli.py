"""The command line: parse, call, print; no logic."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rescore import cli_queue, cli_traffic, console
from rescore.cli_keys import keys
from rescore.cli_outbox import outbox
from rescore.errors import RescoreError

if TYPE_CHECKING:
    from rescore.trainer.train import TrainingReport

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A score in the row: scoring and online learning inside PostgreSQL.",
)
server = typer.Typer(no_args_is_help=True, help="The private PostgreSQL for demo and tests.")
app.add_typer(server, name="server")
app.add_typer(keys, name="keys")
app.add_typer(outbox, name="outbox")
for command in (cli_queue.fold, cli_queue.pause, cli_queue.resume):
    app.command()(command)
cli_traffic.register(app)

Dsn = Annotated[
    str | None, typer.Option(help="Connection string; else RESCORE_DSN, else PG* variables.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the deployment history.")]
Home = Annotated[Path | None, typer.Option(help="Directory of the private server.")]
Model = Annotated[str, typer.Argument(help="Name of the model.")]
Profile = Annotated[str, typer.Argument(help="Name of the profile.")]
File = Annotated[Path, typer.Argument(help="Definition file.", exists=True, dir_okay=False)]
Moments = Annotated[
    str, typer.Option(help="monthly, an interval such as '2 weeks', or timestamps with commas.")
]
Until = Annotated[datetime | None, typer.Option(help="The present; nothing known later is used.")]
Most = Annotated[int, typer.Option(help="So many moments, the newest.", min=1)]
Candidate = Annotated[bool, typer.Option(help="Only record the version; promote lets it serve.")]
Sweep = Annotated[bool, typer.Option(help="Rescore all rows of the profile with what now serves.")]
MaxAge = Annotated[
    str | None, typer.Option(help="Interval: scores younger than this are left alone.")
]
Batch = Annotated[int | None, typer.Option(help="Most rows per transaction: 10000.", min=1)]
Rate = Annotated[float | None, typer.Option(help="Most rows written per second.", min=0.001)]
Tolerance = Annotated[
    float, typer.Option(help="Leave scores that the clock has moved by no more.", min=0.0)
]
Jobs = Annotated[int, typer.Option(help="Sessions, each with a part of the keys.", min=1)]
SweepJobs = Annotated[
    int, typer.Option(help="Sessions that sweep a profile, each a part of the keys.", min=1)
]
Drop = Annotated[bool, typer.Option("--drop", help="Drop columns no longer used.")]


def main() -> None:
    """Run the command line; errors become one message and an exit code, never a traceback."""
    from rescore.trainer.database import translated

    try:
        with translated():
            app()
    except RescoreError as error:
        console.print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:  # a folder that cannot be made, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
        console.print_error(RescoreError(message, hint="name a place that can be written"))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@server.command("start")
def server_start(
    home: Home = None,
    tuning: Annotated[
        str, typer.Option(help="demo (safe settings) or tests (faster, may lose data in a crash).")
    ] = "demo",
    json: Json = False,
) -> None:
    """Start the private PostgreSQL, or say where it runs."""
    from rescore.server import private

    running = private.start(home, tuning)
    _show_one(vars(running), json)
    if not json:
        console.print_lines([f"export RESCORE_DSN={shlex.quote(running.dsn)}"])


@server.command("stop")
def server_stop(home: Home = None) -> None:
    """Stop the private PostgreSQL."""
    from rescore.server import private

    console.print_lines(["stopped" if private.stop(home) else "was not running"])


@server.command("status")
def server_status(home: Home = None, json: Json = False) -> None:
    """Say whether the private PostgreSQL runs, and where; exit code 1 when not."""
    from rescore.server import private

    running = private.status(home)
    _show_one(vars(running) if running else {"running": False}, json)
    raise typer.Exit(0 if running else 1)


@app.command()
def install(
    dsn: Dsn = None,
    python_path: Annotated[
        list[str] | None,
        typer.Option(help="Directory for the server's Python; repeat for several. Superuser only."),
    ] = None,
    json: Json = False,
) -> None:
    """Bring the database to this version's schema; does nothing where it is there already."""
    from rescore.sql import install as sql_install
    from rescore.trainer.database import address

    _show_one(vars(sql_install.install(address(dsn), python_path=python_path)), json)


@app.command()
def plan(file: File, dsn: Dsn = None, drop: Drop = False, json: Json = False) -> None:
    """Print the SQL that apply would run."""
    from rescore.compiler.apply import plan as make_plan
    from rescore.compiler.definition import load
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        made = make_plan(conn, load(file), drop=drop)
    if json:
        console.print_json({"changes": made.changes, "notes": made.notes, "sql": made.script})
    else:
        console.print_lines([f"-- {line}" for line in [*made.changes, *made.notes]])
        console.print_lines([made.script or "-- nothing to do"])


@app.command()
def apply(
    file: File,
    dsn: Dsn = None,
    drop: Drop = False,
    indexes: Annotated[bool, typer.Option(help="Create missing indexes on event keys.")] = True,
    lock_timeout: Annotated[
        float,
        typer.Option(help="Seconds to wait for locks, each of 60 times.", min=0.01),
    ] = 0.5,
    json: Json = False,
) -> None:
    """Bring the database to a definition: profile table, triggers, functions, backfill."""
    from rescore.compiler.apply import apply as apply_definition
    from rescore.compiler.definition import load
    from rescore.trainer.database import connection

    definition = load(file)
    with connection(dsn) as conn, console.progress("backfill") as progress:
        made = apply_definition(
            conn,
            definition,
            source=file.read_text("utf-8"),
            drop=drop,
            create_indexes=indexes,
            lock_timeout=lock_timeout,
            progress=progress,
        )
    if json:
        console.print_json({"changes": made.changes, "notes": made.notes})
    else:
        console.print_lines(made.changes or ["nothing to do"])
        console.print_lines([f"note: {note}" for note in made.notes])


@app.command()
def schema() -> None:
    """Print the JSON Schema of definition files, for editors."""
    from rescore.compiler.definition import json_schema

    console.print_json(json_schema())


@app.command()
def train(
    model: Model,
    dsn: Dsn = None,
    moments: Moments = "monthly",
    until: Until = None,
    most: Most = 24,
    passes: Annotated[
        int | None, typer.Option(help="Passes of partial_fit; default: a million examples.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the shuffling.")] = 0,
    publish: Annotated[bool, typer.Option("--publish", help="Publish the new version.")] = False,
    candidate: Candidate = False,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Train on past moments, measure on the newest, and publish if asked."""
    from rescore.trainer import report
    from rescore.trainer.database import connection
    from rescore.trainer.train import publish_trained
    from rescore.trainer.train import train as train_model

    chosen = report.parse_moments(moments)
    with connection(dsn) as conn, console.progress(f"train {model}") as progress:
        made = train_model(
            conn,
            model,
            moments=chosen,
            until=report.with_zone(until),
            most=most,
            passes=passes,
            seed=seed,
            progress=progress,
        )
        try:
            if publish or candidate:
                made = publish_trained(conn, made, candidate=candidate, reason=reason)
        finally:  # what was learnt is told even when it is refused
            _show_training(made, json)
    _sweep_after(model, dsn, wanted=sweep and publish and not candidate)


@app.command()
def learn(
    model: Model,
    dsn: Dsn = None,
    max_batches: Annotated[
        int | None, typer.Option(help="One round of no more micro-batches than this.", min=1)
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Go on from the champion, not from what was refused.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="For a session that learns this model already.")
    ] = False,
    sweep: Sweep = True,
    json: Json = False,
) -> None:
    """Learn on from what was resolved since the last round; exit code 3 when the gate refuses."""
    from rescore.trainer.database import connection
    from rescore.trainer.loop.learn import learn as learn_model
    from rescore.trainer.loop.report import summary

    with connection(dsn) as conn, console.progress(f"learn {model}") as progress:
        made = learn_model(
            conn, model, max_batches=max_batches, restart=restart, wait=wait, progress=progress
        )
    if json:
        console.print_json(made.to_json())
    else:
        console.print_lines(summary(made))
    _sweep_after(model, dsn, wanted=sweep and made.published)
    raise typer.Exit(3 if made.refused else 0)


@app.command()
def quarantine(dsn: Dsn = None, json: Json = False) -> None:
    """List the snapshots kept out of learning, by model and reason."""
    _rows("quarantined", dsn, json, empty="nothing is kept out")


@app.command()
def release(
    model: Model,
    snapshot: Annotated[
        list[int] | None, typer.Option("--id", help="A snapshot; repeat. Default: all.")
    ] = None,
    dsn: Dsn = None,
    json: Json = False,
) -> None:
    """Let snapshots out of quarantine: they are learnt whatever they hold."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        _show_one({"model": model, "released": ops.release(conn, model, snapshot)}, json)


@app.command()
def drift(model: Model, dsn: Dsn = None, json: Json = False) -> None:
    """Compare the newest snapshots with what the serving version learnt from, column by column."""
    from rescore.trainer.database import connection
    from rescore.trainer.loop.drift import watch

    with connection(dsn) as conn:
        rows = [each.to_json() for each in watch(conn, model)]
    columns = ("feature", "psi", "psi_by_chance", "outside", "before", "now", "changed_at")
    some = [{name: row[name] for name in columns} for row in rows] if not json else rows
    console.show(some, as_json=json, empty="nothing to compare")


@app.command()
def examples(
    model: Model,
    out: Annotated[Path, typer.Option(help="A .csv or .npz file.", dir_okay=False)],
    dsn: Dsn = None,
    moments: Moments = "monthly",
    until: Until = None,
    most: Most = 24,
    json: Json = False,
) -> None:
    """Write the training examples to a file, for notebooks."""
    from rescore.trainer import report
    from rescore.trainer.database import connection
    from rescore.trainer.export import export

    chosen, present = report.parse_moments(moments), report.with_zone(until)
    with connection(dsn) as conn, console.progress(f"examples {model}") as progress:
        rows = export(conn, model, out, moments=chosen, until=present, most=most, progress=progress)
    _show_one({"model": model, "file": out, "examples": rows}, json)


@app.command()
def publish(
    model: Model,
    file: Annotated[Path, typer.Argument(help="A .joblib, .pkl or .skops file.")],
    dsn: Dsn = None,
    candidate: Candidate = False,
    key: Annotated[
        Path | None, typer.Option(help="Private key to sign with; else RESCORE_KEY, if set.")
    ] = None,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Publish a fitted scikit-learn estimator as a new version."""
    from rescore.trainer.publish import publish as publish_file

    version = publish_file(file, model=model, dsn=dsn, candidate=candidate, reason=reason, key=key)
    _sweep_after(model, dsn, wanted=sweep and not candidate)
    _show_one({"model": model, "version": version, "serves": not candidate}, json)


@app.command()
def promote(
    model: Model,
    version: Annotated[int, typer.Argument(help="Number of a recorded version; see `models`.")],
    dsn: Dsn = None,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Let a recorded version serve."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        serving = ops.promote(conn, model, version, reason)
    _sweep_after(model, dsn, wanted=sweep)
    _show_one({"model": model, "version": serving}, json)


@app.command()
def rollback(
    model: Model,
    version: Annotated[int | None, typer.Argument(help="Default: the one before.")] = None,
    dsn: Dsn = None,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Let an earlier version serve again."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        serving = ops.rollback(conn, model, version, reason)
    _sweep_after(model, dsn, wanted=sweep)
    _show_one({"model": model, "version": serving}, json)


@app.command()
def models(dsn: Dsn = None, json: Json = False) -> None:
    """List all versions of all models."""
    columns = ("model", "version", "role", "share", "engine", "auc", "log_loss", "created_at")
    _rows("models", dsn, json, show=columns)


@app.command()
def status(dsn: Dsn = None, json: Json = False) -> None:
    """Say what serves, since when, and whether there are incidents."""
    columns = (
        "model", "profile", "champion", "challenger", "since", "learnt", "moved", "quarantined",
        "backfilling", "incidents",
    )  # fmt: skip
    rare = frozenset({"challenger", "learnt", "moved", "quarantined", "backfilling"})
    _rows("status", dsn, json, show=columns, rare=rare)


@app.command()
def sweep(
    profile: Profile,
    dsn: Dsn = None,
    max_age: MaxAge = None,
    batch: Batch = None,
    rate: Rate = None,
    tolerance: Tolerance = 0.0,
    jobs: Jobs = 1,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew where a sweep was cut short.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="For a sweep of this profile that is under way.")
    ] = False,
    json: Json = False,
) -> None:
    """Bring scores to the present: those the model or the clock has moved on from."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn, console.progress(f"sweep {profile}") as progress:
        swept = ops.sweep(
            conn,
            profile,
            max_age,
            batch,
            rate=rate,
            tolerance=tolerance,
            jobs=jobs,
            restart=restart,
            wait=wait,
            progress=progress,
        )
    told = {"rows": swept.looked, "written": swept.changed, "locked": swept.locked}
    _show_one({"profile": profile, **told, "seconds": round(swept.seconds, 2)}, json)


@app.command()
def snapshot(profile: Profile, dsn: Dsn = None, batch: Batch = None, json: Json = False) -> None:
    """Log the scores of a profile where a round is due, and resolve what is due."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn, console.progress(f"snapshot {profile}") as progress:
        logged = ops.log(conn, profile, batch, progress)
    _show_one({"profile": profile, **vars(logged)}, json)


@app.command()
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
    json: Json = False,
) -> None:
    """Fold, sweep, log, learn, judge versions and tell alerts, until SIGTERM or Ctrl-C."""
    from rescore.trainer import run as runner
    from rescore.trainer.fold import folding
    from rescore.trainer.follow import follow
    from rescore.trainer.health_file import watching
    from rescore.trainer.loop.job import LOOK_SECONDS, Learning
    from rescore.trainer.snapshots import LOOK_SECONDS as SNAPSHOT_SECONDS
    from rescore.trainer.snapshots import Snapshotting
    from rescore.trainer.sweep import Terms

    terms = Terms(max_age, batch, rate, tolerance)
    fold = folding(dsn, fold_every, profile or ())
    sweeping = runner.sweeping(dsn, every, profile or (), terms, fold.when_due, sweep_jobs)
    jobs: list[runner.Job] = [fold, sweeping]
    jobs.append(Snapshotting(min(SNAPSHOT_SECONDS, sweeping.every), tuple(profile or ())))
    jobs.append(Learning(min(LOOK_SECONDS, sweeping.every)))
    jobs += cli_traffic.jobs(sweeping.every, terms, alerts)
    with runner.stopped_by_signals() as stop:
        say = console.print_json if json else lambda facts: console.say(runner.line(facts))
        with watching(health_file, jobs, say) as (told, said):
            if follow_clock:
                failed = follow(dsn, told, say=said, stop=stop)
            else:
                failed = runner.run(dsn, told, say=said, stop=stop, once=once, standby=standby)
    raise typer.Exit(1 if once and failed else 0)


@app.command()
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
        _show_one({"profile": profile, "removed": cron.unschedule(dsn, profile)}, json)
    elif profile and every:
        terms = Terms(max_age, batch, rate, tolerance)
        jobs = cron.schedule(dsn, profile, every, terms, fold_every)
        _show_one({"profile": profile, "jobs": jobs, "every": every, "folds": fold_every}, json)
    else:
        raise typer.BadParameter("name a profile with --every or --remove, or use --list")


@app.command()
def verify(profile: Profile, dsn: Dsn = None, json: Json = False) -> None:
    """Compare every stored value with a recount of the events; exit code 1 when any differs."""
    found = _rows("verify", dsn, json, profile, empty="0 differences")
    raise typer.Exit(1 if found else 0)


@app.command()
def rebuild(profile: Profile, dsn: Dsn = None, json: Json = False) -> None:
    """Recompute a profile from its events; say how many rows changed."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn, console.progress(f"rebuild {profile}"):
        changed = ops.rebuild(conn, profile)
    _show_one({"profile": profile, "changed": changed}, json)


@app.command()
def forget(
    profile: Profile,
    key: Annotated[str, typer.Argument(help="Key of the person, as in the profile table.")],
    dsn: Dsn = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let the key count again, from its next event on.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove a person from all rescore holds, and keep events from bringing them back."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    if not undo:
        _rows("forget", dsn, json, profile, key)
        return
    with connection(dsn) as conn:
        _show_one({"profile": profile, "lifted": ops.remember(conn, profile, key)}, json)


@app.command("verify-model")
def verify_model(model: Model, dsn: Dsn = None, json: Json = False) -> None:
    """Compare the compiled scorer with the artefact over the live rows."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        _show_one({"model": model, "largest_difference": ops.verify_model(conn, model)}, json)


@app.command()
def doctor(dsn: Dsn = None, json: Json = False) -> None:
    """Check connection, server, PL/Python and health; exit code 1 when anything is wrong."""
    from rescore.trainer.doctor import examine

    found = examine(dsn)
    console.show(found, as_json=json)
    raise typer.Exit(1 if any(check["result"] == "wrong" for check in found) else 0)


@app.command()
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


def _show_training(made: TrainingReport, json: bool) -> None:
    from rescore.trainer import report

    if json:
        console.print_json(made.to_json())
    else:
        console.print_lines(report.summary(made))
        if table := report.bins(made):
            console.show(table, as_json=False, title="calibration")


def _sweep_after(model: str, dsn: str | None, *, wanted: bool) -> None:
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    if wanted:
        with connection(dsn) as conn, console.progress(f"rescore by {model}") as progress:
            ops.sweep_model(conn, model, progress)


def _rows(
    command: str,
    dsn: str | None,
    json: bool,
    *values: Any,
    show: tuple[str, ...] = (),
    rare: frozenset[str] = frozenset(),
    empty: str = "nothing",
) -> list[dict[str, Any]]:
    """Print the rows of an operation: all they hold as JSON, the columns named as a table.

    Those that are rare are shown where a row has something in them.
    """
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        rows: list[dict[str, Any]] = getattr(ops, command)(conn, *values)
    shown = [name for name in show if name not in rare or any(row[name] for row in rows)]
    some = [{name: row[name] for name in shown} for row in rows] if show and not json else rows
    console.show(some, as_json=json, empty=empty)
    return rows


def _show_one(row: dict[str, Any], json: bool) -> None:
    if json:
        console.print_json(row)
    else:
        console.show_values(row)


if __name__ == "__main__":
    main()
