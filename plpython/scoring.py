"""What the server's PL/Python functions call: scoring rows, and proving an artefact.

The functions take `plpy` and `GD`, the backend's global dictionary, as arguments, and report
errors as SQL errors of class RS.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from rescore.errors import ArtefactRefused, BadFeature, RescoreError, UnknownVersion
from rescore.plpython.artifact import Format, load, sha256
from rescore.plpython.estimators import working_alone
from rescore.plpython.refusal import storable

CACHED_MODELS = 8
"""How many versions a backend keeps loaded."""

_CACHE = "rescore.estimators"
_PLAN = "rescore.select_model"
_SELECT = "SELECT artifact, format, sha256 FROM rescore.models WHERE model = $1 AND version = $2"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def score_rows(
    plpy: Any, gd: dict[str, Any], model: str, version: int, flat: Sequence[float], columns: int
) -> list[float]:
    """Return the scores of design rows by a version's artefact, kept loaded per backend.

    Parameters
    ----------
    flat: the rows one after the other, len(flat) a multiple of `columns`.
    columns: numbers in a row.

    Returns
    -------
    list of len(flat) / columns scores
    """
    with sql_errors(plpy):
        return _score_rows(_estimator(plpy, gd, model, version), flat, columns)


def _score_rows(estimator: Any, flat: Sequence[float], columns: int) -> list[float]:
    import numpy as np

    from rescore.plpython.prediction import score

    if columns < 1 or len(flat) % columns or None in flat:
        raise BadFeature(
            f"{len(flat)} values are no rows of {columns} columns",
            hint="Pass complete design rows without NULL.",
        )
    rows = np.asarray(flat, dtype=np.float64).reshape(-1, columns)
    return cast("list[float]", score(estimator, rows).tolist())


def prove(
    plpy: Any,
    gd: dict[str, Any],
    data: bytes,
    format: str,
    contract_json: str,
    n_probes: int,
    claimed: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return the proof of an artefact (see :func:`rescore.plpython.proof.prove`) as JSON values."""
    with sql_errors(plpy):
        one_thread()
        from rescore.plpython.contract import Contract
        from rescore.plpython.proof import prove as prove_artefact

        contract = Contract.from_json(json.loads(contract_json))
        proof = prove_artefact(data, cast(Format, format), contract, n_probes, claimed=claimed)
        one_thread()
        return proof.to_json()


@contextmanager
def sql_errors(plpy: Any) -> Iterator[None]:
    """Raise rescore's errors as SQL errors with their SQLSTATE, DETAIL and HINT."""
    try:
        yield
    except RescoreError as error:
        fields = {"detail": error.detail, "hint": error.hint}
        given = {name: storable(text) for name, text in fields.items() if text}
        plpy.error(storable(error.message), sqlstate=error.sqlstate, **given)


def _estimator(plpy: Any, gd: dict[str, Any], model: str, version: int) -> Any:
    cache: OrderedDict[tuple[str, int], Any] = gd.setdefault(_CACHE, OrderedDict())
    key = (model, version)
    if key not in cache:
        cache[key] = _load(plpy, gd, model, version)
        while len(cache) > CACHED_MODELS:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]


def _load(plpy: Any, gd: dict[str, Any], model: str, version: int) -> Any:
    if _PLAN not in gd:
        gd[_PLAN] = plpy.prepare(_SELECT, ["text", "int4"])
    found = plpy.execute(gd[_PLAN], [model, version], 1)
    if not len(found):
        raise UnknownVersion(
            f"model {model!r} has no version {version} that this transaction can see",
            hint="A transaction begun before the version was published scores with an older one.",
        )
    row = found[0]
    _check_digest(row["artifact"], row["sha256"], model, version)
    one_thread()
    estimator = working_alone(load(row["artifact"], row["format"]))
    one_thread()
    return estimator


def _check_digest(data: bytes, expected: str, model: str, version: int) -> None:
    if sha256(data) != expected:
        raise ArtefactRefused(
            f"artefact of model {model!r} version {version} does not match its SHA-256",
            detail=f"Expected {expected}, found {sha256(data)}.",
            hint="Restore rescore.models from a backup, or roll back to another version.",
        )


def one_thread() -> None:
    """Keep numerical libraries from starting threads in a database backend.

    The environment is read when a library is loaded; limits hold for those loaded already.
    """
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    import threadpoolctl  # type: ignore[import-untyped]

    threadpoolctl.threadpool_limits(limits=1)
