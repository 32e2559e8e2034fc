"""Files that somebody wrote, and names of files: texts, whatever they hold, and no command of a shell."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rescore.errors import BadDefinition
from rescore.plpython.signature import Claim
from rescore.tests.security.conftest import Stage
from rescore.tests.security.names import any_names
from rescore.tests.support import contract_of, examples, linear_pipeline, pickled
from rescore.trainer import keys
from rescore.trainer.alert_rules import Alerts, Tell, load
from rescore.trainer.publish import publish
from rescore.trainer.tell import tell
from rescore.trainer.usage import NoArtefact, WrongUsage

# Told what it was given: nothing of it is taken for more than a text.
RECORD = "import json, sys; json.dump([sys.argv[2:], sys.stdin.read()], open(sys.argv[1], 'w'))"
SHELL = ["$(touch canary)", "`touch canary`", "; touch canary #", "| tee canary", "> canary", "&& touch canary"]  # fmt: skip
texts = any_names | st.text(max_size=8) | st.sampled_from(SHELL)
numbers = st.floats() | st.integers() | st.sampled_from([10**400, -(10**400)])
anything = st.none() | st.booleans() | numbers | texts | st.lists(texts, max_size=2)
file_names = (
    texts.map(lambda text: text.replace("/", "_").replace("\0", ""))
    .filter(lambda name: 0 < len(name.encode(errors="ignore")) <= 200 and name.isprintable())
    .filter(lambda name: name not in (".", ".."))  # they are folders
)


def parsed(content: Any) -> Alerts:
    """What is in a YAML file of this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "alerts.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        return load(path)


@given(st.lists(texts, min_size=1, max_size=3), texts)
@settings(max_examples=examples(15), deadline=None)
@example(SHELL, "'; touch canary; '")
def test_an_alert_is_given_to_a_program_and_not_to_a_shell(words: list[str], cause: str) -> None:
    """Arguments come as they are written; what the database says, as JSON on the input."""
    told = json.dumps({"cause": cause})
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        out = Path(folder) / "told"
        command = [sys.executable, "-S", "-c", RECORD, str(out), *words]
        try:
            whom = parsed({"tell": {"command": command}, "rules": {}}).tell
        except BadDefinition:
            assert not all(word.strip() and word.isprintable() for word in words)
            return
        why = tell(whom, told, set(), Event())
        if "\0" in "".join(words):
            assert "null byte" in why
            return
        assert why == ""
        assert json.loads(out.read_text()) == [words, told]
        assert [path.name for path in Path(folder).iterdir()] == ["told"]


@given(texts)
@settings(max_examples=examples(40), deadline=None)
@example("127.0.0.1:1/ HTTP/1.1\r\nHost: elsewhere")
@example("[")
@example("127.0.0.1:99999999/")
def test_a_webhook_is_an_address_or_cannot_be_told(text: str) -> None:
    """No error but that it could not be told; port 1 answers nobody."""
    address = text if "127.0.0.1" in text or text == "[" else f"127.0.0.1:1/{text}"
    whom = Tell(command=None, webhook=f"http://{address}", timeout=1)
    assert tell(whom, "{}", set(), Event()).startswith("could not tell: ")


@given(
    st.dictionaries(
        st.sampled_from(["health", "quality", "drift", "stale", "latency"]) | texts,
        st.dictionaries(
            st.sampled_from(["status", "metric", "worse_than", "within", "psi", "share", "older_than", "ms"]) | texts,
            anything,
            max_size=3,
        )
        | anything,
        max_size=3,
    ),
    st.dictionaries(st.sampled_from(["command", "webhook", "timeout"]) | texts, anything, max_size=3),
)  # fmt: skip
@settings(max_examples=examples(150), deadline=None)
@example({"quality": {"worse_than": float("nan")}}, {"command": ["a"]})
@example({"latency": {"ms": float("inf")}}, {"command": ["a"]})
@example({"stale": {"share": 0.5, "older_than": "9999999999999 days"}}, {"command": ["a"]})
def test_a_file_of_alerts_is_refused_or_its_bounds_can_be_met(
    rules: dict[str, Any], whom: dict[str, Any]
) -> None:
    try:
        made = parsed({"tell": whom, "rules": rules}).rules
    except BadDefinition:
        return
    named = (("quality", "worse_than"), ("drift", "psi"), ("stale", "share"), ("latency", "ms"))
    bounds = [getattr(getattr(made, rule), bound, None) for rule, bound in named]
    assert all(bound is None or abs(bound) <= 1e100 for bound in bounds)


CLAIM = Claim("churn", "joblib", "0" * 64, {"inputs": []}, None)


@given(file_names)
@settings(max_examples=examples(30), deadline=None)
@example("$(touch canary)'; touch canary; '")
def test_the_name_of_a_key_file_is_a_name(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        keys.generate(path)
        assert len(keys.sign(path, CLAIM)) == 64
        assert len(keys.public_key(path.with_name(f"{name}.pub"))) == 32
        path.chmod(0o644)
        with pytest.raises(WrongUsage) as caught:
            keys.sign(path, CLAIM)
        # To be pasted: what is in the name stays one word.
        command = (caught.value.hint or "").split("`", 1)[1].rsplit("`", 1)[0]
        assert shlex.split(command) == ["chmod", "600", str(path)]
        assert sorted(each.name for each in Path(folder).iterdir()) == sorted([name, f"{name}.pub"])


@given(file_names, st.sampled_from([".joblib", ".pkl", ".skops", ".sh", ""]))
@settings(max_examples=examples(30), deadline=None)
def test_the_name_of_an_artefact_is_a_name(name: str, suffix: str) -> None:
    """A file is there or not, and of a known suffix or not: before any database is asked."""
    missing = Path(tempfile.gettempdir()) / "no such folder" / f"{name}{suffix}"
    with pytest.raises(NoArtefact) as caught:
        publish(missing, model="churn", dsn="host=/nowhere")
    assert str(missing) in caught.value.message


NASTY = [*SHELL, "-rf", "--", "'; DROP TABLE x; --", "é" * 60, "🦆 %s {{ x }}"]


def test_an_artefact_of_any_name_is_published(stage: Stage, tmp_path: Path) -> None:
    conn = stage.connect()
    data = pickled(linear_pipeline(len(contract_of(conn).columns())))
    for version, name in enumerate(NASTY, 2):
        path = tmp_path / f"{name}.joblib"
        path.write_bytes(data)
        assert publish(path, model="churn", conn=conn) == version
    assert len(list(tmp_path.iterdir())) == len(NASTY)
