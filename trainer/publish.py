"""``rescore.publish``: from a fitted pipeline, or a file of one, to a version in the database."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from rescore.errors import ArtefactRefused, NotFinite, PythonMissing
from rescore.plpython import artifact, limits
from rescore.plpython.contract import Contract, Input, from_names
from rescore.plpython.estimators import feature_count, feature_names
from rescore.plpython.proof import Proof, prove
from rescore.plpython.signature import Claim
from rescore.trainer import keys
from rescore.trainer.database import Connection, connection, one, query, translated
from rescore.trainer.loop.reference import refer_to_snapshots
from rescore.trainer.usage import NoArtefact, unknown_model


@dataclass(frozen=True)
class Deployment:
    """How a database serves a model: its inputs, its engine, and whether it has PL/Python.

    ``unknown_past`` names inputs that ``rescore examples`` and ``rescore train`` leave out.
    """

    inputs: tuple[Input, ...]
    engine: str
    python: bool
    unknown_past: frozenset[str]


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
    key: str | os.PathLike[str] | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> int:
    """Publish a fitted estimator as a new version of a model; it serves from this commit on.

    The artefact is proven here: it is loaded as the server would load it, folded, and scored on
    probe rows; the server holds its own numbers against these.

    Parameters
    ----------
    pipeline_or_path: a fitted estimator or Pipeline, or a ``.joblib``, ``.pkl`` or ``.skops`` file.
    model: name of the model, as in the definition.
    dsn, conn: where; see `rescore.trainer.database.connect`. An open connection is left open.
    contract: inputs and frozen categories; told from the estimator's column names when absent,
        and taken from the serving version when it has none and takes as many columns.
    metrics: kept beside the version.
    parent: the version it was trained from.
    candidate: only record it; ``promote`` lets it serve.
    reason: for the deployment history.
    key: file of the private key to sign with; without it the one that RESCORE_KEY names, if any.
    lineage: what it learnt from, as learning keeps it; without it, drift is told against the
        newest snapshots, where there are enough.

    Returns
    -------
    int: the version's number.

    Raises
    ------
    UnknownModel, ArtefactRefused, ContractViolated, NotFinite, ParityFailed: nothing changed.
    PythonMissing: the model is not linear and the database cannot score it from the artefact.
    SignatureRefused: the database has registered keys, and none of them has signed.
    """
    _check_metrics(metrics or {})
    data, form = _artifact(pipeline_or_path)
    with _given(conn, dsn) as link:
        deployment = read_deployment(link, model)
        agreed = _given_contract(contract) or _own_contract(link, model, deployment, data, form)
        proof = prove(data, form, agreed)
        linear = proof.linear.to_json() if proof.linear else None
        claim = Claim(model, form, proof.sha256, agreed.to_json(), linear)
        given = {
            "model": model,
            "artifact": data,
            "format": form,
            "contract": Jsonb(agreed.to_json()),
            "metrics": Jsonb(dict(metrics or {})),
            "parent": parent,
            "candidate": candidate,
            "reason": reason,
            "linear": Jsonb(linear) if linear else None,
            "signature": _signature(key, claim),
        }
        with link.transaction():
            version = _send(link, deployment, proof, given)
            if lineage is None:
                refer_to_snapshots(link, model, version, agreed, artifact.load(data, form))
            else:
                link.execute(query("lineage"), (model, version, Jsonb(dict(lineage))))
        return version


def _signature(key: str | os.PathLike[str] | None, claim: Claim) -> bytes | None:
    path = key or os.environ.get(keys.VARIABLE)
    return keys.sign(Path(path), claim) if path else None


def read_deployment(conn: Connection, model: str) -> Deployment:
    """Read how a model is deployed; UnknownModel when it is not."""
    row = conn.execute(query("deployment"), (model,)).fetchone()
    if row is None:
        raise unknown_model(conn, model)
    return Deployment(tuple(map(Input.from_json, row[0])), row[1], row[2], frozenset(row[3]))


@contextmanager
def _given(conn: Connection | None, dsn: str | None) -> Iterator[Connection]:
    if conn is None:
        with connection(dsn) as opened:
            yield opened
    else:
        with translated():
            yield conn


def _check_metrics(metrics: Mapping[str, Any], place: str = "") -> None:
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            _check_metrics(value, f"{place}{name}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise NotFinite(
                f'metric "{place}{name}" is {value}',
                detail="Metrics are kept as JSON, which has finite numbers only.",
                hint="leave the metric out, or pass None",
            )


def _artifact(pipeline_or_path: Any) -> tuple[bytes, artifact.Format]:
    if not isinstance(pipeline_or_path, (str, os.PathLike)):
        return artifact.dump(pipeline_or_path, "joblib"), "joblib"
    path = os.fspath(pipeline_or_path)
    try:
        limits.BYTES.check(Path(path).stat().st_size)
        data = Path(path).read_bytes()
    except OSError as error:
        raise NoArtefact(
            f"cannot read {path}: {error.strerror}", hint="name a .joblib, .pkl or .skops file"
        ) from error
    try:
        form = artifact.sniff(path)
    except ArtefactRefused as error:
        raise NoArtefact(error.message, detail=error.detail, hint=error.hint) from error
    if not data:
        raise ArtefactRefused(f"{path} is empty", hint="save the estimator again: joblib.dump")
    return data, form


def _given_contract(contract: Contract | Mapping[str, Any] | None) -> Contract | None:
    if contract is None or isinstance(contract, Contract):
        return contract
    return Contract.from_json(contract)


def _own_contract(
    conn: Connection,
    model: str,
    deployment: Deployment,
    data: bytes,
    form: artifact.Format,
) -> Contract:
    """The deployment's inputs, their open categories as names or an earlier version tell."""
    if not deployment.unknown_past and all(each.top is None for each in deployment.inputs):
        return Contract(deployment.inputs)
    estimator = artifact.load(data, form)
    names = feature_names(estimator)
    if names:
        return from_names(_taken(deployment, names), names)
    columns = feature_count(estimator)
    if earlier := _earlier_contract(conn, model, columns):
        return earlier
    told = [from_names(inputs, []) for inputs in (deployment.inputs, _taken(deployment, []))]
    return next((each for each in told if len(each.columns()) == columns), told[0])


def _taken(deployment: Deployment, names: Sequence[str]) -> tuple[Input, ...]:
    """The inputs less those that examples leave out and the estimator has no column of."""

    def told(each: Input) -> bool:
        own = {*each.columns()}
        return any(name in own or name.startswith(f"{each.name}=") for name in names)

    return tuple(x for x in deployment.inputs if x.name not in deployment.unknown_past or told(x))


def _earlier_contract(conn: Connection, model: str, columns: int) -> Contract | None:
    """The contract of the serving version, else of the newest, if it has so many columns."""
    for (found,) in conn.execute(query("contracts"), (model,)):
        contract = Contract.from_json(found)
        if len(contract.columns()) == columns:
            return contract
    return None


def _send(conn: Connection, deployment: Deployment, proof: Proof, given: dict[str, Any]) -> int:
    """Let the server prove it too where it has Python, else submit the numbers proven here."""
    if not deployment.python:
        _check_needs_no_python(deployment, proof, given["model"])
        return _send_linear(conn, proof, given)
    try:
        with conn.transaction():
            return int(one(conn, query("publish"), given | {"expected": proof.expected}))
    except psycopg.Error as error:
        unusable = error.sqlstate == PythonMissing.sqlstate
        if not unusable or proof.linear is None or deployment.engine == "python":
            raise
    return _send_linear(conn, proof, given)


def _check_needs_no_python(deployment: Deployment, proof: Proof, model: str) -> None:
    if proof.linear is None or deployment.engine == "python":
        why = "is not linear" if proof.linear is None else 'has "engine: python"'
        raise PythonMissing(
            f'model "{model}" {why}, and this database has no PL/Python to score it with',
            hint="have an administrator run `rescore install`, or publish a linear model",
        )


def _send_linear(conn: Connection, proof: Proof, given: dict[str, Any]) -> int:
    numbers = {
        "sha256": proof.sha256,
        "probes": Jsonb(proof.probes),
        "expected": proof.expected,
        "libraries": Jsonb(proof.library_versions),
        "clock": proof.clock,
    }
    return int(one(conn, query("publish_linear"), given | numbers))
