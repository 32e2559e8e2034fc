"""What must hold between the parts of a definition: references, names, conditions, tables."""

from __future__ import annotations

import zoneinfo
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from rescore.compiler import expression
from rescore.compiler.definition_computed import computed_problems
from rescore.compiler.definition_errors import Problem, did_you_mean, unknown
from rescore.compiler.definition_learn import learn_problems
from rescore.compiler.definition_metrics import metric_problems
from rescore.compiler.definition_names import name_problems, split_table
from rescore.compiler.places import Path
from rescore.errors import RescoreError

if TYPE_CHECKING:
    from rescore.compiler.definition import Definition, Feature


def cross_problems(definition: Definition) -> Iterator[Problem]:
    """Yield every problem between the parts of a definition."""
    yield from name_problems(definition)
    yield from _profile(definition)
    yield from _tables(definition)
    yield from _events(definition)
    yield from _features(definition)
    yield from computed_problems(definition)
    yield from _labels(definition)
    yield from _snapshot(definition)
    yield from _models(definition)
    yield from learn_problems(definition)
    yield from metric_problems(definition)
    yield from _conditions(definition)


def _profile(definition: Definition) -> Iterator[Problem]:
    for column, source in definition.profile.history.items():
        path: Path = ("profile", "history", column)
        if source != "static":
            yield from _timed(definition, path, source, "the past of a column")
    zone, zones = definition.profile.timezone, zoneinfo.available_timezones()
    # Without zone data on this machine only the database can tell; it is asked later.
    if zones and zone not in zones:
        yield Problem(
            ("profile", "timezone"),
            f'there is no time zone "{zone}"',
            "A name of the IANA database, such as Europe/Berlin.",
            did_you_mean(zone, zones),
        )


def _tables(definition: Definition) -> Iterator[Problem]:
    written: list[tuple[Path, str]] = [(("profile", "table"), definition.profile.table)]
    written += [(("events", name, "table"), e.table) for name, e in definition.events.items()]
    written += [(("links", name, "table"), ln.table) for name, ln in definition.links.items()]
    written += [
        (("labels", name, "table"), label.table)
        for name, label in definition.labels.items()
        if label.table
    ]
    if definition.interventions:
        written.append((("interventions", "table"), definition.interventions.table))
    own = definition.profile.table
    for path, table in written:
        try:
            split_table(table)
        except ValueError as error:
            hint = "Write table, schema.table, or quote: '\"My table\"'."
            yield Problem(path, str(error), "A table as SQL writes it.", hint)
        if path[0] != "profile" and path[0] != "links" and table == own:
            yield Problem(path, f"{table} is the profile's own table", "A table of events.")


def _events(definition: Definition) -> Iterator[Problem]:
    for name, event in definition.events.items():
        if event.via is None:
            continue
        path: Path = ("events", name, "via")
        if event.trigger == "replicated":
            yield Problem(
                path,
                f"event {name} is replicated and has no key of its own",
                "The link's triggers are statement triggers, which a subscription does not fire.",
                "Leave out `via` and keep the key in the event.",
            )
        if event.via not in definition.links:
            yield unknown(path, "link", event.via, definition.links)
        if event.key is not None:
            yield Problem(path, f"event {name} has both `key` and `via`", "One of them.")


def _features(definition: Definition) -> Iterator[Problem]:
    for name, feature in definition.features.items():
        path: Path = ("features", name)
        if feature.source is None:
            continue
        if timed := _needs_time(feature):
            yield from _timed(definition, (*path, "from"), feature.source, f"`{timed}`")
        elif feature.source not in definition.events:
            yield unknown((*path, "from"), "event", feature.source, definition.events)


def _needs_time(feature: Feature) -> str:
    """Return the key for which the time of events must be known; empty if none does."""
    if feature.kind in ("first", "last", "days_since", "gap"):
        return feature.kind
    return next(
        (k for k in ("window", "tumbling", "half_life") if getattr(feature, k) is not None), ""
    )


def _labels(definition: Definition) -> Iterator[Problem]:
    for name, label in definition.labels.items():
        if label.source:
            path: Path = ("labels", name, label.kind)
            yield from _timed(definition, path, label.source, "a label")
        yield from _censored(definition, name)


def _censored(definition: Definition, name: str) -> Iterator[Problem]:
    other, path = definition.labels[name].censored_by, ("labels", name, "censored_by")
    if other is None:
        return
    if other not in definition.labels:
        yield unknown(path, "label", other, definition.labels)
    elif other == name:
        yield Problem(path, f"label {name} is censored by itself", "Another label.")
    elif definition.labels[other].none is not None:
        yield Problem(
            path,
            f"label {other} is true when nothing happens, which has no time",
            "A label with `any` or `table`.",
        )
    elif definition.labels[other].is_number:
        yield Problem(path, f"label {other} is a number", "A label with `any` or `table`.")


def _snapshot(definition: Definition) -> Iterator[Problem]:
    snapshot, path = definition.snapshot, ("snapshot", "on")
    if snapshot is None:
        return
    if not any(model.label or model.is_segments for model in definition.models.values()):
        yield Problem(
            ("snapshot",),
            "there is nothing to log: no model has a label",
            "What is logged waits for its label; only segments (mini_batch_k_means) need none.",
            "Name one under models.<model>.label.",
        )
    if snapshot.on is None:
        return
    if snapshot.on not in definition.events:
        yield unknown(path, "event", snapshot.on, definition.events)
    elif not any(f.source == snapshot.on for f in definition.features.values()):
        yield Problem(
            path,
            f"no feature is kept from event {snapshot.on}",
            "Customers are logged by the triggers that keep features.",
            "Name the event of a feature, or use `every`.",
        )


def _timed(definition: Definition, path: Path, source: str, what: str) -> Iterator[Problem]:
    """Yield a problem unless ``source`` is an event whose time column is known."""
    if source not in definition.events:
        yield unknown(path, "event", source, definition.events)
    elif definition.events[source].time is None:
        yield Problem(
            path,
            f"{what} needs the time of event {source}",
            f"events.{source} names no `time` column.",
            f"Write {source}: {{time: …}} under events.",
        )


def _models(definition: Definition) -> Iterator[Problem]:
    for name, model in definition.models.items():
        path: Path = ("models", name)
        if model.label is not None and model.label not in definition.labels:
            yield unknown((*path, "label"), "label", model.label, definition.labels)
        yield from _model_features(definition, name)
    for name, score in definition.scores.items():
        key = "ensemble" if score.ensemble else "model"
        for named in score.members:
            if named not in definition.models:
                yield unknown(("scores", name, key), "model", named, definition.models)
        if score.ensemble and name in definition.models:
            yield Problem(("scores", name), f"a model is called {name} too", "Another name.")


def _model_features(definition: Definition, name: str) -> Iterator[Problem]:
    model, path = definition.models[name], ("models", name, "features")
    named = model.features if isinstance(model.features, tuple) else ()
    left_out: Collection[str] = getattr(model.features, "names", ())
    for feature in [*named, *left_out]:
        if feature not in definition.features:
            yield unknown(path, "feature", feature, definition.features)
    for feature in {f for f in named if named.count(f) > 1}:
        yield Problem(path, f'model {name} names the feature "{feature}" twice')
    if not model.feature_names(definition):
        yield Problem(path, f"model {name} has no features", "At least one.")


def _conditions(definition: Definition) -> Iterator[Problem]:
    written: list[tuple[Path, str | None]] = [(("profile", "only"), definition.profile.only)]
    written += [(("features", n, "where"), f.where) for n, f in definition.features.items()]
    written += [(("labels", n, "where"), label.where) for n, label in definition.labels.items()]
    if definition.interventions:
        written.append((("interventions", "where"), definition.interventions.where))
    for path, text in written:
        if text is None:
            continue
        try:
            expression.check(text, None, "")
        except RescoreError as error:
            yield Problem(path, error.message, error.detail, error.hint)
