"""``rescore examples``: the training examples as a file, for notebooks."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO

import numpy as np
from psycopg import sql

from rescore.errors import NotSupported
from rescore.trainer import examples as ex
from rescore.trainer.database import Connection, query, translated
from rescore.trainer.fit import Progress
from rescore.trainer.split import Moment
from rescore.trainer.train import choose_moments, choose_until
from rescore.trainer.usage import WrongUsage

Columns = list[tuple[str, str]]


def export(
    conn: Connection,
    model: str,
    path: Path,
    *,
    moments: str | Sequence[datetime] = "monthly",
    until: datetime | None = None,
    most: int = 24,
    progress: Progress | None = None,
) -> int:
    """Write the examples that `rescore.trainer.train.train` would learn from; return their number.

    Parameters
    ----------
    path: ``.csv`` (key, ``moment``, the design columns by name, ``label``) or ``.npz`` (arrays
        ``design``, shape (n, columns), ``label``, ``moment`` and ``columns``).
    moments, until, most: as for training.

    Raises
    ------
    WrongUsage: neither of these suffixes, or the file cannot be written.
    NotSupported: the model learns without a label.
    """
    if path.suffix not in (".csv", ".npz"):
        raise WrongUsage(f"{path} is neither .csv nor .npz", hint="name a file with one of these")
    with translated():
        source = _labelled(ex.read_source(conn, model))
        chosen = choose_moments(conn, source, moments, choose_until(conn, source, until), most)
        columns = ex.design_columns(conn, ex.frozen_contract(conn, source, chosen))
        write = _write_csv if path.suffix == ".csv" else _write_npz
        try:
            with path.open("wb") as file:
                return write(conn, source, columns, chosen, file, progress or _silent)
        except OSError as error:
            raise WrongUsage(f"cannot write {path}: {error.strerror}") from error


def _labelled(source: ex.Source) -> ex.Source:
    if source.label is None:
        raise NotSupported(
            f'model "{source.model}" has no label, and so no examples of what followed',
            hint="read the rows of the profile itself",
        )
    return replace(source, held_out=None)  # a file has no weights: treated customers are left out


def _silent(done: int, total: int) -> None:
    """Show no progress."""


def _write_csv(
    conn: Connection,
    source: ex.Source,
    columns: Columns,
    moments: Sequence[Moment],
    file: IO[bytes],
    progress: Progress,
) -> int:
    rows = 0
    file.write(_header([source.key, "moment", *(name for name, _ in columns), "label"]))
    for done, moment in enumerate(moments, 1):
        statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(
            _statement(source, columns, moment)
        )
        with conn.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for chunk in copy:
                    file.write(chunk)
            rows += cursor.rowcount
        progress(done, len(moments))
    return rows


def _header(names: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(names)
    return line.getvalue().encode()


def _statement(source: ex.Source, columns: Columns, moment: Moment) -> sql.Composed:
    values = [
        sql.SQL("({})::pg_catalog.float8").format(ex.written(expression))
        for _, expression in columns
    ]
    return query("export", columns=sql.SQL(",\n").join(values), **ex.outcome_parts(source, moment))


def _write_npz(
    conn: Connection,
    source: ex.Source,
    columns: Columns,
    moments: Sequence[Moment],
    file: IO[bytes],
    progress: Progress,
) -> int:
    names, expressions = zip(*columns, strict=True)
    parts = []
    for done, moment in enumerate(moments, 1):
        parts.append(ex.read_examples(conn, source, expressions, moment))
        progress(done, len(moments))
    labels = np.concatenate([part.labels for part in parts])
    at = [np.full(len(part.labels), _naive(part.moment.at)) for part in parts]
    np.savez_compressed(
        file,
        design=np.concatenate([part.design for part in parts]),
        label=labels,
        moment=np.concatenate(at),
        columns=np.array(names),
    )
    return len(labels)


def _naive(moment: datetime) -> np.datetime64:
    """NumPy's timestamps have no zone: these are in UTC."""
    return np.datetime64(round(moment.timestamp() * 1e6), "us")
