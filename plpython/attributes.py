"""Which attributes the objects of an artefact may have.

scikit-learn publishes no list. Its conventions are one: parameters of the constructor, fitted
attributes that end with an underscore, private ones that begin with it.
"""

from __future__ import annotations

import inspect
import re
from functools import lru_cache
from typing import Any

from rescore.plpython.refusal import refuse, shown

# Parameters that older versions of scikit-learn had.
_FORMER = frozenset(
    ("multi_class", "normalize", "base_estimator", "presort", "min_impurity_split", "X_idx_sorted")
)
# Losses and optimizers follow no convention.
_OF_PARTS = frozenset(
    (
        *("interval_y_true", "interval_y_pred", "constant_hessian", "approx_hessian"),
        *("n_classes", "closs", "link"),
        *("learning_rate", "t", "ms", "vs", "velocities", "params"),
    )
)
_CONVENTIONAL = re.compile(r"[A-Za-z]\w{0,98}_|_[A-Za-z]\w{0,98}", re.ASCII)
_VERSION = re.compile(r"[\w.+-]{1,40}", re.ASCII)


@lru_cache(maxsize=256)
def _parameters(cls: type[Any]) -> frozenset[str]:
    made = (vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base))
    return frozenset(name for init in made for name in inspect.signature(init).parameters)


def check(cls: type[Any], name: Any, value: Any) -> None:
    """Refuse an attribute that no object of the class has by itself.

    Also refused is whatever the class itself has: an instance must not replace a method, a
    property or a constant.

    Raises
    ------
    ArtefactRefused
        Naming class and attribute.
    """
    if type(name) is not str or name.startswith("__") or hasattr(cls, name):
        raise refuse(f"artefact replaces {shown(name)} of {cls.__name__}")
    parameters = _parameters(cls)  # type: ignore[arg-type]  # classes are hashable
    if not (
        name in parameters or _CONVENTIONAL.fullmatch(name) or name in _OF_PARTS or name in _FORMER
    ):
        raise refuse(f"artefact holds {cls.__name__} with the stray attribute {shown(name)}")
    if name == "_sklearn_version" and not (type(value) is str and _VERSION.fullmatch(value)):
        # scikit-learn writes it into a warning while the file is still being read.
        raise refuse(f"artefact holds {shown(value)} for the version of scikit-learn")
