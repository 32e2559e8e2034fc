"""The definition file: what it means, how it is stored, and what is said of wrong ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticUndefined

from rescore.compiler import definition as d
from rescore.compiler.definition_checks import ESTIMATORS
from rescore.compiler.definition_learn import CALIBRATED, LEARNERS, METRICS
from rescore.compiler.definition_names import split_table
from rescore.compiler.definition_part import Part
from rescore.compiler.expression_lists import FUNCTIONS, TYPES
from rescore.compiler.intervals import interval_text, parse_interval
from rescore.errors import BadDefinition, RescoreError
from rescore.trainer.estimators import make_estimator
from rescore.trainer.learning import kinds, metrics

DOCS = Path(d.__file__).parents[1] / "docs"
HERE = Path(__file__).parent
CRM = (HERE / "crm.yaml").read_text(encoding="utf-8")
WRONG = yaml.safe_load((HERE / "wrong_definitions.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def crm() -> d.Definition:
    return d.parse(CRM, "crm.yaml")


def wrong(old: str, new: str) -> RescoreError:
    """Return what is said of the file with one thing changed."""
    text = CRM.replace(old, new, 1)
    assert text != CRM
    with pytest.raises(RescoreError) as caught:
        d.parse(text, "crm.yaml")
    return caught.value


def test_profile_and_its_defaults(crm: d.Definition) -> None:
    profile = crm.profile
    assert (profile.table, profile.name) == ("crm.customers", "crm.customers")
    assert (profile.key.name, profile.key.type) == ("customer_id", "bigint")
    assert (profile.timezone, profile.clock, profile.on_error) == ("UTC", "now", "record")
    assert profile.history == {"plan": "plan_changes", "country": "static"}


def test_events_get_the_table_and_key_they_mean(crm: d.Definition) -> None:
    events = crm.events
    assert (events["orders"].table, events["orders"].key) == ("orders", "customer_id")
    assert (events["complaints"].key, events["complaints"].trigger) == ("client_no", "row")
    assert (events["invoices"].key, events["invoices"].via) == (None, "subscription")
    assert events["plan_changes"].table == '"Plan Changes"'
    assert (events["logins"].table, events["logins"].time) == ("logins", None)
    assert crm.links["subscription"].on == "subscription_id"


@pytest.mark.parametrize(
    ("name", "kind", "source", "column"),
    [
        ("orders", "count", "orders", None),
        ("spend", "sum", "orders", "amount"),
        ("last_channel", "last", "orders", "channel"),
        ("days_since_order", "days_since", "orders", None),
        ("renews_in", "days_until", None, "renews_at"),
        ("plan", "column", None, "plan"),
    ],
)
def test_features_in_normal_form(
    crm: d.Definition, name: str, kind: str, source: str | None, column: str | None
) -> None:
    feature = crm.features[name]
    assert (feature.kind, feature.source, feature.column) == (kind, source, column)


def test_categories_and_missing_values(crm: d.Definition) -> None:
    hot = {name: feature.one_hot for name, feature in crm.features.items() if feature.one_hot}
    assert hot["last_channel"].categories == ("web", "7", "yes", "true", "007")
    assert not hot["last_channel"].other
    assert (hot["plan"].categories, hot["plan"].other) == (("basic", "pro"), True)
    assert (hot["country"].categories, hot["country"].top, hot["country"].other) == (None, 30, True)
    assert crm.features["days_since_order"].missing_indicator
    assert crm.features["days_since_order"].which == "last"
    assert crm.features["spend"].default == -1
    assert crm.features["severe"].where == "severity >= 3"


@pytest.mark.parametrize(
    ("written", "kind", "column"),
    [
        ("last: 5, of: channel, one_hot: [web], other: true", "last", "channel"),
        ("last: 100, of: qty, count_of: {top: 7}", "last", "qty"),
        ("gap: avg", "gap", None),
        ("distinct: product_id, window: 30 days", "distinct", "product_id"),
    ],
)
def test_sequences_in_normal_form(written: str, kind: str, column: str | None) -> None:
    one = d.parse(CRM.replace("last: channel, one_hot: [web, 7, yes, true, 007]", written))
    feature = one.features["last_channel"]
    assert (feature.kind, feature.column) == (kind, column)
    assert d.Definition.from_json(json.dumps(one.to_json())) == one
    hot = feature.categories
    assert feature.last_n == {"channel": 5, "qty": 100}.get(column or "", 0)
    assert (hot is None) == (kind != "last")
    assert hot is None or (hot.other, hot.top) in [(True, None), (False, 7)]


def test_labels(crm: d.Definition) -> None:
    churned, left = crm.labels["churned"], crm.labels["left"]
    assert (churned.kind, churned.source, churned.within) == ("none", "orders", timedelta(90))
    assert churned.after is None
    assert (left.kind, left.source, left.after) == ("any", "plan_changes", timedelta(14))


def test_models(crm: d.Definition) -> None:
    churn, leaving, plain = crm.models.values()
    assert churn.feature_names(crm) == [n for n in crm.features if n not in ("severe", "logins")]
    assert leaving.feature_names(crm) == ["plan", "orders"]
    assert plain.feature_names(crm) == list(crm.features)
    assert churn.estimator_name == "sgd_classifier"
    assert churn.estimator_parameters["alpha"] == 1e-4
    assert (churn.scaler, churn.engine) == ("none", "python")
    assert leaving.estimator == {"ridge": {}}
    assert plain.estimator == {
        "sgd_classifier": {"loss": "log_loss", "alpha": 1e-4, "average": True}
    }
    assert (plain.label, plain.scaler, plain.engine) == (None, "standard", "auto")


def test_bands_and_outbox_are_stored_in_their_order() -> None:
    written = "{model: churn, bands: {z: -1, a: 0, m: 0.7}, outbox: {moved_by: 0, band: true}}"
    read = d.parse(CRM.replace("{model: churn}", written))
    score = read.scores["churn_score"]
    assert score.bands == (("z", -1.0), ("a", 0.0), ("m", 0.7))
    assert score.outbox == d.Outbox(moved_by=0.0, band=True)
    stored = json.dumps(read.to_json(), sort_keys=True)
    assert d.Definition.from_json(stored) == read


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_named_is_one_the_trainer_makes(name: str) -> None:
    made = make_estimator({name: {}}, seed=0)
    assert type(made).__name__.lower() == name.replace("_", "")


def test_stored_and_read_back_with_its_order(crm: d.Definition) -> None:
    stored = json.dumps(crm.to_json(), sort_keys=True)  # jsonb, too, forgets the order of keys
    back = d.Definition.from_json(stored)
    assert back == crm
    for section in ("features", "events", "labels", "models", "scores", "links"):
        assert list(getattr(back, section)) == list(getattr(crm, section))
    assert d.Definition.from_json(crm.to_json()) == crm


def test_digest_is_of_the_meaning(crm: d.Definition) -> None:
    digest = d.digest(crm)
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert d.digest(d.parse("# a comment\n" + CRM)) == digest
    assert d.digest(d.Definition.from_json(crm.to_json())) == digest
    assert d.digest(d.parse(CRM.replace("90 days", "91 days"))) != digest
    lines = CRM.splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if line.startswith("  spend:"))
    swapped = [*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]]
    assert d.digest(d.parse("".join(swapped))) != digest


@pytest.mark.parametrize(("old", "new", "place", "message", "more"), WRONG)
def test_refuses_with_place_and_what_was_expected(
    old: str, new: str, place: str, message: str, more: str
) -> None:
    error = wrong(old, new)
    assert isinstance(error, BadDefinition)
    first = str(error).splitlines()[0]
    assert first.startswith(f"crm.yaml:{place}: "), first
    assert message in first
    assert more in f"{error.detail} {error.hint}"


def test_says_everything_that_is_wrong() -> None:
    error = wrong("labels:", "  more: {from: shop, cuont: true}\n  most: {sum: 3}\nlabels:")
    assert "crm.yaml:24:22" in error.message
    assert "Also: crm.yaml:25:10" in error.detail


def test_a_file_of_aliases_does_not_grow_without_end() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
    )
    with pytest.raises(BadDefinition, match="nested or repeated"):
        d.parse(bomb)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("- a", "not a mapping"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("[" * 5000, "nested too deeply"),
        ("a" * 1_000_001, "too many"),
        ("\x07", "unprintable"),
    ],
)
def test_refuses_what_is_no_definition_at_all(text: str, why: str) -> None:
    with pytest.raises(BadDefinition, match=why):
        d.parse(text)


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "crm.yaml"
    path.write_text(CRM, encoding="utf-8")
    assert d.load(path) == d.parse(CRM)
    path.write_bytes(b"\xff")
    with pytest.raises(BadDefinition, match=r"crm\.yaml: cannot be read"):
        d.load(path)
    with pytest.raises(BadDefinition, match="No such file"):
        d.load(tmp_path / "absent.yaml")


@given(st.text(max_size=200) | st.text("ab:{}[]-&*!#'\"?|> \n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(RescoreError):
        d.parse(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("customers", (None, "customers")),
        ("CRM.Customers", ("crm", "customers")),
        ('"CRM"."a.b"" c"', ("CRM", 'a.b" c')),
        ("kunden_für", (None, "kunden_für")),
    ],
)
def test_tables_are_written_as_in_sql(text: str, parts: tuple[str | None, str]) -> None:
    assert split_table(text) == parts


@given(st.timedeltas(timedelta(), timedelta(days=36_000)))
def test_intervals_read_back(value: timedelta) -> None:
    assert parse_interval(interval_text(value)) == value


@pytest.mark.parametrize(
    "text", ["", "90", "days", "-3 days", "3 days ago", "1 year", "40000 days", "1e9 days"]
)
def test_refuses_other_intervals(text: str) -> None:
    with pytest.raises(ValueError, match=r"length|longer|unit"):
        parse_interval(text)


def test_schema_for_editors_is_in_step() -> None:
    stored = json.loads((DOCS / "definition.schema.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(d.json_schema()))


def _section(mark: str) -> str:
    """Return what the reference says between a mark and its end."""
    text = (DOCS / "definition.md").read_text(encoding="utf-8")
    return text.split(f"<!-- {mark} -->")[1].split("<!-- end -->")[0]


@pytest.mark.parametrize(
    "part",
    [
        d.Definition,
        d.Profile,
        d.Key,
        d.Link,
        d.Event,
        d.Feature,
        d.OneHot,
        d.Label,
        d.Model,
        d.Score,
        d.Outbox,
        d.Queue,
        d.Interventions,
    ],
)
def test_reference_lists_exactly_the_keys(part: type[d.Definition]) -> None:
    listed = re.findall(r"^\| `(\w+)` \| (.*?) \|", _section(part.__name__), re.MULTILINE)
    fields = {f.alias or n: f.description for n, f in part.model_fields.items()}
    assert listed == [(key, str(text)) for key, text in fields.items()]


def _told(default: Any) -> str:
    """Return a default as the file would have it; nothing where there is none."""
    if default is PydanticUndefined:
        return "to be given"
    if isinstance(default, Part):
        default = default.model_dump(mode="json", exclude_unset=True)
    if default is None or default in ((), {}):
        return ""
    if isinstance(default, timedelta):
        default = interval_text(default)
    text = yaml.safe_dump(default, default_flow_style=True, width=1000).removesuffix("...\n")
    return f"`{text.strip()}`".replace(" 1 days", " 1 day")


def _with_defaults(part: type[Part], before: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield key, default and meaning of a part and of those within."""
    for name, field in part.model_fields.items():
        key = f"{before}{field.alias or name}"
        yield key, _told(field.default), str(field.description)
        found = [each for each in (field.annotation, *get_args(field.annotation))
                 if isinstance(each, type) and issubclass(each, Part)]  # fmt: skip
        for within in found:
            yield from _with_defaults(within, f"{key}: ")


@pytest.mark.parametrize("part", [d.Learn, d.Snapshots])
def test_reference_lists_exactly_the_keys_and_their_defaults(part: type[Part]) -> None:
    row = r"^\| `([\w: ]+)` \| (.*?) ?\| (.*?) \|$"
    listed = re.findall(row, _section(part.__name__), re.MULTILINE)
    assert listed == list(_with_defaults(part))


def test_lengths_of_time_in_the_schema_are_as_the_file_has_them() -> None:
    keep = d.json_schema()["$defs"]["Snapshots"]["properties"]["keep"]
    assert keep["default"] == "400 days" and parse_interval(keep["default"])


def test_examples_in_the_reference_are_valid() -> None:
    text = (DOCS / "definition.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(profile:.*?)```", text, re.DOTALL)
    assert [d.parse(example).profile.key.name for example in examples] == ["customer_id"] * 2


@pytest.mark.parametrize(
    ("mark", "names"), [("estimators", set(ESTIMATORS)), ("functions", FUNCTIONS), ("types", TYPES)]
)
def test_reference_names_exactly_what_is_known(mark: str, names: set[str]) -> None:
    assert set(re.findall(r"`(\w+)`", _section(mark))) == names


def test_learning_knows_the_same_metrics_and_estimators() -> None:
    assert set(METRICS) == {name for name, each in metrics.METRICS.items() if each.better}
    kinds_of = {type(make_estimator({name: {}}, seed=0)).__name__ for name in LEARNERS}
    assert kinds_of == set(kinds._KINDS)
    assert set(CALIBRATED) < set(LEARNERS) < set(ESTIMATORS)
