"""``rescore.publish``: from a fitted pipeline, or a file of one, to a version in the database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from rescore.errors import ArtefactRefused, PythonMissing, UnknownModel
from rescore.plpython import artifact
from rescore.plpython.contract import Contract, Input, from_names
from rescore.plpython.estimators import feature_names
from rescore.plpython.proof import Proof, prove
from rescore.trainer.database import Connection, connection, one, query, translated


@dataclass(frozen=True)
class Deployment:
    """How a database serves a model: its inputs, its engine, and whether it has PL/Python."""

    inputs: tuple[Input, ...]
    engine: str
    python: bool


def publish(
    pipeline_or_path: Any,
    *,
    model: str,
    dsn: str | None = None,
    conn: Connection | None = None,
    contract: Contract | Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    parent: int | None = None,
    candidate: bool = False,
    reason: str | None = None,
) -> int:
    """Publish a fitted estimator as a new version of a model; it serves from this commit on.

    The artefact is proven here: it is loaded as the server would load it, folded, and scored on
    probe rows; the server holds its own numbers against these.

    Parameters
    ----------
    pipeline_or_path: a fitted estimator or Pipeline, or a ``.joblib``, ``.pkl`` or ``.skops`` file.
    model: name of the model, as in the definition.
    dsn, conn: where; see `rescore.trainer.database.connect`. An open connection is left open.
    contract: inputs and frozen categories; told from the estimator's column names when absent.
    metrics: kept beside the version.
    parent: the version it was trained from.
    candidate: only record it; ``promote`` lets it serve.
    reason: for the deployment history.

    Returns
    -------
    int: the version's number.

    Raises
    ------
    UnknownModel, ArtefactRefused, ContractViolated, NotFinite, ParityFailed: nothing changed.
    PythonMissing: the model is not linear and the database cannot score it from the artefact.
    """
    data, form = _artifact(pipeline_or_path)
    with _given(conn, dsn) as link:
        deployment = read_deployment(link, model)
        agreed = _contract(contract, deployment, data, form)
        proof = prove(data, form, agreed)
        given = {
            "model": model,
            "artifact": data,
            "format": form,
            "contract": Jsonb(agreed.to_json()),
            "metrics": Jsonb(dict(metrics or {})),
            "parent": parent,
            "candidate": candidate,
            "reason": reason,
        }
        return _send(link, deployment, proof, given)


def read_deployment(conn: Connection, model: str) -> Deployment:
    """Read how a model is deployed; UnknownModel when it is not."""
    row = conn.execute(query("deployment"), (model,)).fetchone()
    if row is None:
        raise UnknownModel(
            f'unknown model "{model}"',
            hint="`rescore models` lists them; `rescore apply` makes those of a definition",
        )
    return Deployment(tuple(map(Input.from_json, row[0])), row[1], row[2])


@contextmanager
def _given(conn: Connection | None, dsn: str | None) -> Iterator[Connection]:
    if conn is None:
        with connection(dsn) as opened:
            yield opened
    else:
        with translated():
            yield conn


def _artifact(pipeline_or_path: Any) -> tuple[bytes, artifact.Format]:
    if not isinstance(pipeline_or_path, (str, os.PathLike)):
        return artifact.dump(pipeline_or_path, "joblib"), "joblib"
    form = artifact.sniff(pipeline_or_path)
    try:
        return Path(pipeline_or_path).read_bytes(), form
    except OSError as error:
        raise ArtefactRefused(
            f"cannot read {os.fspath(pipeline_or_path)}: {error.strerror}",
            hint="name a .joblib, .pkl or .skops file",
        ) from error


def _contract(
    contract: Contract | Mapping[str, Any] | None,
    deployment: Deployment,
    data: bytes,
    form: artifact.Format,
) -> Contract:
    if isinstance(contract, Contract):
        return contract
    if contract is not None:
        return Contract.from_json(contract)
    if all(each.top is None for each in deployment.inputs):
        return Contract(deployment.inputs)
    return from_names(deployment.inputs, feature_names(artifact.load(data, form)) or [])


def _send(conn: Connection, deployment: Deployment, proof: Proof, given: dict[str, Any]) -> int:
    """Let the server prove it too where it has Python, else submit the numbers proven here."""
    if deployment.python:
        return int(one(conn, query("publish"), given | {"expected": proof.expected}))
    if proof.linear is None or deployment.engine == "python":
        why = "is not linear" if proof.linear is None else 'has "engine: python"'
        raise PythonMissing(
            f'model "{given["model"]}" {why}, and this database has no PL/Python to score it with',
            hint="have an administrator run `rescore install`, or publish a linear model",
        )
    numbers = {
        "sha256": proof.sha256,
        "linear": Jsonb(proof.linear.to_json()),
        "probes": Jsonb(proof.probes),
        "expected": proof.expected,
        "libraries": Jsonb(proof.library_versions),
        "clock": proof.clock,
    }
    return int(one(conn, query("publish_linear"), given | numbers))
