"""Proving an artefact: what it is, what it computes, and that its linear form computes the same.

The proof's probes and expected scores are what the compiled SQL is held against, by the server's
own functions or, where PL/Python is missing, by the trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rescore.errors import ArtefactRefused, ParityFailed, RescoreError
from rescore.plpython.artifact import Format, library_versions, load_with_warnings, sha256
from rescore.plpython.contract import Contract, check
from rescore.plpython.design import design_row
from rescore.plpython.estimators import working_alone
from rescore.plpython.linear import LinearForm, apply, fold
from rescore.plpython.prediction import score
from rescore.plpython.probes import CLOCK, probes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOLERANCE = 1e-9
"""Largest difference of two scores of one row, relative to scores above 1."""


@dataclass(frozen=True)
class Proof:
    """What is known of an artefact once it is proven.

    Attributes
    ----------
    linear: its linear form; None if it is not linear.
    sha256: digest of the artefact.
    clock: ISO timestamp that the expected scores hold for.
    probes: payloads.
    expected: the artefact's own score of each payload.
    tolerance: largest difference allowed from each expected score.
    library_versions: of what computed the scores.
    warnings: what the libraries said on loading, such as that another version wrote the file.
    """

    linear: LinearForm | None
    sha256: str
    clock: str
    probes: list[dict[str, Any]]
    expected: list[float]
    tolerance: list[float]
    library_versions: dict[str, str]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON-able values."""
        return asdict(self)


def prove(
    data: bytes,
    format: Format,
    contract: Contract,
    n_probes: int = 200,
    seed: int = 0,
    *,
    claimed: Sequence[float] | None = None,
) -> Proof:
    """Load an artefact, check it against the contract, fold it and score the probes.

    Parameters
    ----------
    data: the file's content.
    format: how it was written.
    contract: frozen contract of the version.
    n_probes: how many payloads to score.
    seed: of the probes.
    claimed: `expected` of the proof made where the model was trained; other library versions
        may give other numbers, and then this fails.

    Raises
    ------
    ArtefactRefused
        If it is not allow-listed or cannot score the probes.
    ContractViolated
        If it was fitted on other columns.
    NotFinite
        If a weight or a probe's score is NaN or infinite.
    ParityFailed
        If its linear form, or the proof made where it was trained, has other scores.
    """
    estimator, warnings = load_with_warnings(data, format)
    working_alone(estimator)
    check(estimator, contract)
    payloads = probes(contract, n_probes, seed)
    rows = [design_row(contract, payload, CLOCK) for payload in payloads]
    expected = _score(estimator, rows)
    form = fold(estimator)
    tolerance = tolerances(expected)
    if form is not None:
        _compare("the linear form", apply(form, rows), expected, tolerance, payloads)
    if claimed is not None:
        _compare("the trainer", _as_claimed(claimed, n_probes), expected, tolerance, payloads)
    return Proof(
        linear=form,
        sha256=sha256(data),
        clock=CLOCK.isoformat(),
        probes=payloads,
        expected=expected.tolist(),
        tolerance=tolerance.tolist(),
        library_versions=library_versions(),
        warnings=warnings,
    )


def tolerances(expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the difference allowed from each expected score, shape (rows,)."""
    import numpy as np

    return TOLERANCE * np.maximum(1.0, np.abs(expected))


def _score(estimator: Any, rows: list[list[float]]) -> NDArray[np.float64]:
    try:
        return score(estimator, rows)
    except RescoreError:
        raise
    except Exception as error:  # attributes that do not fit together fail in any way
        raise ArtefactRefused(
            f"artefact cannot score: {type(error).__name__}: {error!s:.300}",
            hint="Save the estimator again, with the library versions of the server.",
        ) from error


def _as_claimed(claimed: Sequence[float], n_probes: int) -> NDArray[np.float64]:
    import numpy as np

    if len(claimed) != n_probes:
        raise ParityFailed(
            f"{len(claimed)} scores were claimed for {n_probes} probes",
            hint="Use the same version of rescore in the trainer and in the server.",
        )
    return np.asarray(claimed, dtype=np.float64)


def _compare(
    who: str,
    found: NDArray[np.float64],
    expected: NDArray[np.float64],
    tolerance: NDArray[np.float64],
    payloads: list[dict[str, Any]],
) -> None:
    import numpy as np

    excess = np.abs(found - expected) / tolerance
    worst = int(np.argmax(excess)) if len(excess) else 0
    if len(excess) and not excess[worst] <= 1:
        raise ParityFailed(
            f"{who} scores {float(found[worst])!r}, the artefact {float(expected[worst])!r}",
            detail=f"For {payloads[worst]!r:.500}.",
            hint="Use the server's library versions in the trainer, and no features whose mean is "
            "a million times their spread.",
        )
