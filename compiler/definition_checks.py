"""What must hold inside one part of a definition, beyond the types of its values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from rescore.compiler.definition_errors import did_you_mean, refuse
from rescore.compiler.definition_types import CATEGORY_KINDS, COMPUTED_KINDS, EVENT_KINDS
from rescore.plpython.estimators import PREDICTORS
from rescore.plpython.transforms import clip_problem, edges_problem

if TYPE_CHECKING:
    from rescore.compiler.definition_models import Feature

# Start of a word inside a class name: SGD|Classifier, Gaussian|NB, Passive|Aggressive|…
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

ESTIMATORS = tuple(_WORD.sub("_", path.rpartition(".")[2]).lower() for path in PREDICTORS)


def feature_problems(feature: Feature) -> Iterator[PydanticCustomError]:
    """Yield what is inconsistent among the keys of one feature."""
    kinds = feature.kinds
    if len(kinds) != 1:
        named = " and ".join(kinds) or "none"
        events = ", ".join(EVENT_KINDS)
        expected = f"{events}, ratio, expr, or column (with or without days_until)."
        yield refuse(f"a feature has exactly one kind; given: {named}", f"One of {expected}")
        return
    if feature.kind in EVENT_KINDS:
        yield from _of_events(feature)
    elif feature.kind in COMPUTED_KINDS:
        yield from _of_other_features(feature)
    else:
        yield from _of_the_profile(feature)
    if feature.smooth is not None and feature.kind != "ratio":
        yield refuse("`smooth` needs `ratio`", "{ratio: [a, b], smooth: 1}", key="smooth")
    yield from _of_time(feature)
    yield from _of_categories(feature)
    yield from _of_lists(feature)
    yield from _of_transforms(feature)


def _of_events(feature: Feature) -> Iterator[PydanticCustomError]:
    if feature.source is None:
        expected = f"{{from: orders, {feature.kind}: …}}"
        yield refuse(f"`{feature.kind}` needs `from`, the event it is kept from", expected)


WINDOWED: frozenset[str] = frozenset({"count", "sum", "avg", "min", "max", "distinct"})


def _of_time(feature: Feature) -> Iterator[PydanticCustomError]:
    """Yield what is wrong with the keys that say for how long an event counts."""
    windows = {"window": feature.window, "tumbling": feature.tumbling}
    given = [key for key, value in windows.items() if value is not None]
    if len(given) == 2:
        yield refuse("`window` and `tumbling` exclude each other", "One of them.", key="tumbling")
    for key in given:
        if feature.kind not in WINDOWED:
            allowed = ", ".join(sorted(WINDOWED))
            yield refuse(f"`{feature.kind}` has no `{key}`", f"It goes with {allowed}.", key=key)
    for key, of in (("offset", "window"), ("bucket", "window"), ("closed", "tumbling")):
        if getattr(feature, key) is not None and of not in given:
            yield refuse(f"`{key}` needs `{of}`", f"{{{of}: 30 days, {key}: …}}", key=key)
    yield from _of_decay(feature, given)
    yield from _of_lengths(feature)


DECAYING: frozenset[str] = frozenset({"count", "sum", "ewma"})


def _of_decay(feature: Feature, windows: list[str]) -> Iterator[PydanticCustomError]:
    if feature.half_life is not None and feature.kind not in DECAYING:
        allowed = ", ".join(sorted(DECAYING))
        yield refuse(
            f"`{feature.kind}` has no `half_life`", f"It goes with {allowed}.", key="half_life"
        )
    if feature.kind == "ewma" and feature.half_life is None:
        yield refuse("`ewma` needs `half_life`", "{ewma: amount, half_life: 14 days}")
    if feature.stat is not None and feature.kind != "ewma":
        yield refuse("`stat` needs `ewma`", "{ewma: amount, half_life: …, stat: …}", key="stat")
    if feature.half_life is not None and windows:
        yield refuse(
            f"`{windows[0]}` and `half_life` exclude each other",
            "One of them: what fades needs no window.",
            key="half_life",
        )


def _of_lengths(feature: Feature) -> Iterator[PydanticCustomError]:
    for key in ("window", "offset", "bucket", "tumbling", "half_life"):
        length = getattr(feature, key)
        if length is not None and not length:
            yield refuse(f"`{key}` is no time at all", "Longer than 0 seconds.", key=key)
    if feature.window and feature.bucket and feature.bucket > feature.window:
        yield refuse("`bucket` is longer than `window`", "At most the window.", key="bucket")


def _of_other_features(feature: Feature) -> Iterator[PydanticCustomError]:
    for key, value in (("from", feature.source), ("where", feature.where)):
        if value is not None:
            yield refuse(
                f"a feature computed from others takes no `{key}`",
                f"`{key}` goes with {', '.join(EVENT_KINDS)}.",
                key=key,
            )


def _of_the_profile(feature: Feature) -> Iterator[PydanticCustomError]:
    if feature.plain is None:
        yield refuse("`days_until` needs `column`", "{column: renews_at, days_until: true}")
    for key, value in (("from", feature.source), ("where", feature.where)):
        if value is not None:
            yield refuse(
                f"a plain column takes no `{key}`",
                f"`{key}` goes with {', '.join(EVENT_KINDS)}.",
                key=key,
            )


def _of_categories(feature: Feature) -> Iterator[PydanticCustomError]:
    if feature.categories is None:
        if feature.other is not None:
            yield refuse("`other` needs `one_hot` or `count_of`", key="other")
        return
    if feature.one_hot is not None and feature.kind not in CATEGORY_KINDS:
        allowed = ", ".join(sorted(CATEGORY_KINDS))
        yield refuse(
            f"`{feature.kind}` is a number and has no categories",
            f"`one_hot` goes with {allowed}.",
            key="one_hot",
        )
    if feature.default is not None:
        yield refuse(
            "a category has no `default` number",
            hint="Use `missing: indicator` for missing categories.",
            key="default",
        )


def _of_lists(feature: Feature) -> Iterator[PydanticCustomError]:
    """Yield what is wrong with the keys of `last` with a number."""
    example = "{last: 5, of: channel, one_hot: [web, store]}"
    for key in ("of", "count_of"):
        if getattr(feature, key) is not None and not feature.last_n:
            yield refuse(f"`{key}` needs `last` with a number", example, key=key)
    if not feature.last_n:
        return
    if feature.of is None:
        yield refuse(f"`last: {feature.last_n}` needs `of`, the event column", example)
    if (feature.one_hot is None) == (feature.count_of is None):
        yield refuse(
            f"`last: {feature.last_n}` has exactly one of `one_hot` and `count_of`",
            example,
            "A model sees numbers: whether a value is among the last, or how often.",
        )


def _of_transforms(feature: Feature) -> Iterator[PydanticCustomError]:
    given = [key for key in ("clip", "log1p", "bucketize") if getattr(feature, key) is not None]
    if feature.categories is not None:
        for key in given:
            yield refuse(
                f"a category takes no `{key}`", "Transforms go with numbers and days.", key=key
            )
    clip, edges = feature.clip, feature.bucketize
    if clip is not None and (problem := clip_problem(clip)):
        yield refuse(f"`clip`: {problem}", "[0, 100], [0, null] or [null, 100].", key="clip")
    if edges is not None and (problem := edges_problem(edges)):
        yield refuse(f"`bucketize`: {problem}", "Rising numbers: [10, 20, 50].", key="bucketize")


def estimator_problems(estimator: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
    """Yield what is wrong with the names in an estimator."""
    if len(estimator) != 1:
        yield refuse(
            f"a model has exactly one estimator; given: {', '.join(estimator) or 'none'}",
            "{sgd_classifier: {alpha: 1.0e-4}}",
            key="estimator",
        )
    for name in estimator:
        if name not in ESTIMATORS:
            yield refuse(
                f'unknown estimator "{name}"',
                f"One of {', '.join(ESTIMATORS)}.",
                did_you_mean(name, ESTIMATORS),
                key="estimator",
            )
