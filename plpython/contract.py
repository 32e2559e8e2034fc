"""The feature contract: which inputs a model version takes, and which columns they become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rescore.errors import ContractViolated
from rescore.plpython.estimators import feature_count, feature_names
from rescore.plpython.transforms import Clip, bucket_names, clip_problem, edges_problem

Kind = Literal["number", "days_since", "days_until", "category", "list"]
KINDS: tuple[Kind, ...] = ("number", "days_since", "days_until", "category", "list")
LISTED: tuple[Kind, ...] = ("category", "list")
"""Kinds with a column for each category."""


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes
    ----------
    name: of the profile's column.
    type: SQL type of the argument.
    kind: how it becomes numbers.
    nullable: whether NULL can come.
    bounded: whether NaN, infinities and magnitudes above 1e100 cannot come: the type rules them
        out, or rescore, which keeps the column, does not write them.
    default: what a missing number is replaced with; None, with `buckets`: it is in none of them.
    missing: whether a column says that the value was missing.
    categories: values with a column of their own; empty while `top` awaits freezing.
    other: whether a column stands for all other values.
    top: how many of the most frequent values become categories when a version is trained.
    clip: lowest and highest value of a number; None is no bound.
    log1p: whether the number enters as ``sign(x) * ln(1 + abs(x))``.
    buckets: edges of the intervals that have a column each, in place of the number.
    count: of a list: whether its columns say how often a category is in it, or only whether.
    """

    name: str
    type: str
    kind: Kind
    nullable: bool = True
    bounded: bool = False
    default: float | None = 0.0
    missing: bool = False
    categories: tuple[str, ...] = ()
    other: bool = False
    top: int | None = None
    clip: Clip | None = None
    log1p: bool = False
    buckets: tuple[float, ...] = ()
    count: bool = False

    def columns(self) -> list[str]:
        """Return the names of the design columns of this input, in order."""
        if self.kind in LISTED:
            columns = [f"{self.name}={value}" for value in self.categories]
            columns += [f"{self.name}=*"] if self.other else []
        elif self.buckets:
            columns = bucket_names(self.name, self.buckets)
        else:
            columns = [self.name]
        return columns + ([f"{self.name}__missing"] if self.missing else [])

    def to_json(self) -> dict[str, Any]:
        """Return the input as JSON-able values, holding what its kind needs."""
        data: dict[str, Any] = {"name": self.name, "type": self.type, "kind": self.kind}
        if self.kind == "number" or not self.nullable:
            data["nullable"] = self.nullable
        if self.kind == "number" or self.bounded:
            data["bounded"] = self.bounded
        if self.kind == "list":
            data["count"] = self.count
        if self.kind in LISTED:
            data |= {"categories": list(self.categories)} if self.top is None else {"top": self.top}
            data["other"] = self.other
        else:
            data |= {"default": self.default, **self._transforms()}
        return data | {"missing": self.missing}

    def _transforms(self) -> dict[str, Any]:
        made: dict[str, Any] = {"clip": list(self.clip)} if self.clip else {}
        made |= {"log1p": True} if self.log1p else {}
        return made | ({"buckets": list(self.buckets)} if self.buckets else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Input:
        """Return the input kept in JSON.

        Raises
        ------
        ContractViolated
            If a key is missing or unknown, or the kind is.
        """
        values = dict(data)
        if isinstance(values.get("categories"), Mapping):
            values["top"] = values.pop("categories").get("top")
        try:
            made = cls(**values | _lists(values))
        except (TypeError, OverflowError) as error:
            raise ContractViolated(f"not an input of a contract: {data!r:.200}") from error
        if made.kind not in KINDS:
            raise ContractViolated(
                f"input {made.name!r} is of unknown kind {made.kind!r}",
                detail=f"Known kinds are {', '.join(KINDS)}.",
            )
        _check_transforms(made, data)
        return made


def _lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what JSON holds as lists, as the tuples of an input."""
    made: dict[str, Any] = {"categories": tuple(values.get("categories", ()))}
    if "clip" in values:
        made["clip"] = tuple(None if each is None else _number(each) for each in values["clip"])
    if "buckets" in values:
        made["buckets"] = tuple(map(_number, values["buckets"]))
        made["default"] = values.get("default")
    return made


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _check_transforms(each: Input, given: Mapping[str, Any]) -> None:
    named = [key for key in ("clip", "log1p", "buckets") if key in given]
    wrong = ""
    if named and each.kind in LISTED:
        wrong = f"is a {each.kind} and takes no {named[0]}"
    elif "log1p" in named and not isinstance(given["log1p"], bool):
        wrong = f"has a log1p of {given['log1p']!r:.80}, neither true nor false"
    elif "clip" in named and (problem := clip_problem(each.clip or ())):
        wrong = f"has a wrong clip: {problem}"
    elif "buckets" in named and (problem := edges_problem(each.buckets)):
        wrong = f"has wrong buckets: {problem}"
    if wrong:
        raise ContractViolated(f"input {each.name!r} {wrong}")


@dataclass(frozen=True)
class Contract:
    """The inputs of a model version, in the order of its arguments."""

    inputs: tuple[Input, ...]

    def columns(self) -> list[str]:
        """Return the names of all design columns, in order.

        Raises
        ------
        ContractViolated
            If two columns would have one name, or the most frequent values are not yet frozen.
        """
        for each in self.inputs:
            if each.top is not None:
                raise ContractViolated(
                    f"the categories of {each.name!r} are not frozen (top {each.top})",
                    hint="Train the version: the most frequent values are then written down.",
                )
        names = [name for each in self.inputs for name in each.columns()]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise ContractViolated(f"the contract has the column {twice[0]!r} twice")
        return names

    def to_json(self) -> dict[str, Any]:
        """Return the contract as JSON-able values."""
        return {"inputs": [each.to_json() for each in self.inputs]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contract:
        """Return the contract kept in JSON; ContractViolated if it is none."""
        inputs = data.get("inputs")
        if set(data) != {"inputs"} or not isinstance(inputs, list):
            raise ContractViolated(
                f"not a contract: {data!r:.200}", detail='Expected {"inputs": [...]}.'
            )
        return cls(tuple(Input.from_json(each) for each in inputs))


def check(estimator: Any, contract: Contract) -> None:
    """Refuse an estimator that was not fitted on the columns of the contract.

    Column names are compared when the estimator has them (it was fitted on a data frame),
    otherwise the number of columns.

    Raises
    ------
    ContractViolated
        Naming the columns that are missing, unexpected or out of order.
    """
    columns = contract.columns()
    names = feature_names(estimator)
    if names is not None:
        _compare_names(names, columns)
    elif feature_count(estimator) != len(columns):
        raise ContractViolated(
            f"artefact takes {feature_count(estimator)} columns, the model has {len(columns)}",
            detail=f"The model's columns: {_shown(columns)}.",
            hint="Train on the columns that `rescore train` builds, in that order.",
        )


def _compare_names(names: list[str], columns: list[str]) -> None:
    if names == columns:
        return
    lacking = [name for name in columns if name not in set(names)]
    strange = [name for name in names if name not in set(columns)]
    if lacking or strange:
        parts = [f"lacks {_shown(lacking)}"] if lacking else []
        parts += [f"has {_shown(strange)}, which the model does not"] if strange else []
        message = f"artefact {' and '.join(parts)}"
    else:
        place = next(i for i, name in enumerate(names) if name != columns[i])
        message = f"artefact has column {names[place]!r} where the model has {columns[place]!r}"
    raise ContractViolated(
        message,
        detail=f"The model's columns, in order: {_shown(columns)}.",
        hint="Train on the columns that `rescore train` builds, in that order.",
    )


def _shown(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def freeze(inputs: Iterable[Input], categories: Mapping[str, Sequence[str]]) -> Contract:
    """Return the contract of a version: the most frequent values written down as categories.

    Parameters
    ----------
    inputs: of the deployment.
    categories: for each input with `top`, its values, the most frequent first.

    Raises
    ------
    ContractViolated
        If the values of an input with `top` are not given.
    """
    return Contract(tuple(_freeze(each, categories) for each in inputs))


def _freeze(each: Input, categories: Mapping[str, Sequence[str]]) -> Input:
    if each.top is None:
        return each
    if each.name not in categories:
        raise ContractViolated(f"no categories were found for {each.name!r} (top {each.top})")
    values = tuple(dict.fromkeys(categories[each.name]))[: each.top]
    return replace(each, categories=values, top=None)


def from_names(inputs: Iterable[Input], names: Sequence[str]) -> Contract:
    """Return the contract whose frozen categories an estimator's column names tell.

    Parameters
    ----------
    inputs: of the deployment.
    names: ``feature_names_in_`` of the estimator, such as ``country=DE``.

    Raises
    ------
    ContractViolated
        If the names tell nothing of an input with `top`: it would silently lose all its values.
    """
    inputs = tuple(inputs)
    found = {each.name: _values(each, names) for each in inputs if each.top is not None}
    silent = [name for name, values in found.items() if values is None]
    if silent:
        raise ContractViolated(
            f"the artefact does not tell the categories of {_shown(silent)}",
            detail="They are read from its column names, as in "
            f'"{silent[0]}=value"; it {"has others" if names else "was fitted without any"}.',
            hint=f"fit on a DataFrame with the columns of {_shown(silent)}, or pass contract=",
        )
    return freeze(inputs, {name: values or [] for name, values in found.items()})


def _values(each: Input, names: Sequence[str]) -> list[str] | None:
    """Return the values named, or None when no column is this input's."""
    columns = [name for name in names if name.startswith(f"{each.name}=")]
    if not columns and not (each.missing and f"{each.name}__missing" in names):
        return None
    values = [name.removeprefix(f"{each.name}=") for name in columns]
    return [value for value in values if not (each.other and value == "*")]
