"""What several commands take, told once."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from rescore.trainer.moment import moment


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


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

Until = Annotated[
    datetime | None,
    typer.Option(
        parser=_moment, metavar="MOMENT", help="The present; nothing known later is used."
    ),
]

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

Version = Annotated[int, typer.Argument(help="Number of a recorded version; see `models`.")]

Since = Annotated[
    datetime | None,
    typer.Option(parser=_moment, metavar="MOMENT", help="Only snapshots taken from then on; UTC."),
]

Before = Annotated[
    datetime | None,
    typer.Option(
        "--until", parser=_moment, metavar="MOMENT", help="Only snapshots taken before then; UTC."
    ),
]
