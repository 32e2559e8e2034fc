"""The names a definition may use for estimators and scalers, and what they stand for.

An estimator's name is its class in snake case: ``sgd_classifier``, ``gaussian_nb``. Only classes
on the allow-list of artefacts can be named, since no other could be published.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from rescore.errors import BadDefinition
from rescore.plpython.estimators import PREDICTORS, SCALERS, resolve


def make_estimator(
    spec: Mapping[str, Mapping[str, Any]], *, seed: int, checked: bool = True
) -> Any:
    """Return the estimator a definition names: ``{"sgd_classifier": {"alpha": 1e-4}}``.

    Parameters
    ----------
    seed: random state where the class has one and the definition does not set it, so that the
        same examples give the same model.
    checked: whether values are; not where the estimator only tells how to go on with another one.

    Raises
    ------
    BadDefinition: not exactly one name, a name not on the list, or an argument or a value of it
        that it does not take.
    """
    if len(spec) != 1:
        raise BadDefinition(f"estimator names {len(spec)} estimators: {sorted(spec)}")
    ((name, arguments),) = spec.items()
    cls = _find(PREDICTORS, "estimator", name, suffix="")
    seeded = {"random_state": seed} if "random_state" in inspect.signature(cls).parameters else {}
    made = _make(cls, name, {**seeded, **(arguments or {})})
    return _checked(made, name) if checked else made


def make_scaler(name: str | None) -> Any:
    """Return the scaler of that name (standard, minmax, maxabs, robust), or None for ``none``."""
    if name is None or name == "none":
        return None
    return _make(_find(SCALERS, "scaler", name, suffix="scaler"), name, {})


def _find(known: tuple[str, ...], what: str, name: str, suffix: str) -> type[Any]:
    wanted = name.replace("_", "") + suffix
    path = next((p for p in known if p.rpartition(".")[2].lower() == wanted), None)
    found = resolve(path) if path else None
    if found is None:
        classes = ", ".join(p.rpartition(".")[2] for p in known)
        raise BadDefinition(f'unknown {what} "{name}"', detail=f"Known, in snake case: {classes}.")
    return found


def _make(cls: type[Any], name: str, arguments: Mapping[str, Any]) -> Any:
    known = list(inspect.signature(cls).parameters)
    for argument in arguments:
        if argument not in known:
            near = get_close_matches(argument, known, n=1)
            raise BadDefinition(
                f'{name} has no parameter "{argument}"',
                detail=f"Its parameters: {', '.join(known)}.",
                hint=f'did you mean "{near[0]}"?' if near else f"see scikit-learn's {cls.__name__}",
            )
    return cls(**arguments)


def _checked(made: Any, name: str) -> Any:
    """Return an estimator whose parameters have values that it takes.

    scikit-learn has no public way to ask, but to fit it. This is what every fit begins with; a
    scikit-learn that calls it otherwise says the same then (`rescore.trainer.fit.refusals`).
    """
    try:
        getattr(made, "_validate_params", lambda: None)()
    except (ValueError, TypeError) as error:
        raise BadDefinition(
            f"{name} has a parameter of a value that it does not take",
            detail=str(error),
            hint=f"see scikit-learn's {type(made).__name__}",
        ) from error
    return made
