"""Where keys are registered, nothing is published that none of them has signed."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from rescore import cli
from rescore.errors import SignatureRefused
from rescore.plpython import artifact, signature
from rescore.plpython.signature import Claim
from rescore.tests.security.publisher import publisher
from rescore.tests.sql.conftest import SIMPLE, Model, call, deploy, linear_artifact, proof_of, value
from rescore.trainer import keys
from rescore.trainer.publish import publish
from rescore.trainer.usage import WrongUsage

Connection = psycopg.Connection[Any]
WEIGHTS = [0.1, 0.2, -0.0, 4e-7, 1e30]


@pytest.fixture
def model(db: Connection) -> Model:
    """The model `churn`, and `other`, which takes the same inputs."""
    db.autocommit = True
    deploy(db, SIMPLE, "other")
    return deploy(db, SIMPLE)


@pytest.fixture
def trainer(model: Model, dsn: str) -> Iterator[Connection]:
    with publisher(model.conn, dsn) as conn:
        yield conn


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key file; its public half is beside it."""
    keys.generate(tmp_path / "key")
    return tmp_path / "key"


def trust(conn: Connection, key: Path, name: str = "release") -> None:
    keys.add(conn, name, key.with_name(f"{key.name}.pub"))


class Submission:
    """What is published, the same with and without PL/Python, and the claim that is signed."""

    def __init__(self, model: Model, data: bytes | None = None) -> None:
        self.data = data or linear_artifact(WEIGHTS)
        self.proof = proof_of(self.data, model.contract)
        self.contract = model.contract.to_json()
        self.linear = self.proof.linear.to_json() if self.proof.linear else None
        self.claim = Claim(model.name, "joblib", self.proof.sha256, self.contract, self.linear)

    def send(self, conn: Connection, signed: bytes | None, *, proven: bool, **given: Any) -> Any:
        arguments: dict[str, Any] = {
            "model": self.claim.model,
            "artifact": self.data,
            "contract": Jsonb(self.contract),
            "linear": Jsonb(self.linear) if self.linear else None,
            "expected": self.proof.expected,
            "signature": signed,
        }
        if proven:
            arguments |= {"sha256": self.proof.sha256, "probes": Jsonb(self.proof.probes)}
        return call(conn, "publish_linear" if proven else "publish", arguments | given)


both_ways = pytest.mark.parametrize("proven", [False, True], ids=["publish", "publish_linear"])


def refused(sqlstate: str, act: Callable[..., Any], *given: Any, **named: Any) -> str:
    with pytest.raises(psycopg.Error) as caught:
        act(*given, **named)
    assert caught.value.sqlstate == sqlstate, caught.value
    assert caught.value.diag.message_hint
    return str(caught.value)


@both_ways
def test_without_keys_nobody_has_to_sign(model: Model, trainer: Connection, proven: bool) -> None:
    assert Submission(model).send(trainer, None, proven=proven) == 1
    assert Submission(model).send(trainer, b"x" * 64, proven=proven) == 2
    found = trainer.execute("SELECT signed_by, signature FROM rescore.model_version").fetchall()
    assert found == [(None, None), (None, None)]


@both_ways
def test_what_a_registered_key_signed_is_recorded_with_its_name(
    model: Model, trainer: Connection, key: Path, proven: bool
) -> None:
    trust(model.conn, key)
    submission = Submission(model)
    signed = keys.sign(key, submission.claim)
    assert submission.send(trainer, signed, proven=proven) == 1
    found = trainer.execute("SELECT signed_by, signature FROM rescore.model_version").fetchone()
    assert found == ("release", signed)
    kept = value(trainer, "SELECT linear FROM rescore.models")
    assert list(map(float, kept["weights"])) == WEIGHTS
    for change in ("signature = NULL", "signed_by = 'somebody'"):
        refused("RS016", model.conn.execute, f"UPDATE rescore.models SET {change}")


@both_ways
def test_what_is_not_signed_is_refused(
    model: Model, trainer: Connection, key: Path, tmp_path: Path, proven: bool
) -> None:
    trust(model.conn, key)
    keys.generate(tmp_path / "stranger")
    submission = Submission(model)
    by_stranger = keys.sign(tmp_path / "stranger", submission.claim)
    message = refused("RS021", lambda: submission.send(trainer, None, proven=proven))
    assert "is not signed" in message
    for wrong in (by_stranger, b"", b"\0" * 64, by_stranger[:63], by_stranger + b"\0"):
        message = refused("RS021", submission.send, trainer, wrong, proven=proven)
        assert "Registered keys: release." in message
    assert value(trainer, "SELECT count(*) FROM rescore.models") == 0


@both_ways
def test_a_signature_is_worth_nothing_for_anything_else(
    model: Model, trainer: Connection, key: Path, proven: bool
) -> None:
    trust(model.conn, key)
    submission = Submission(model)
    signed = keys.sign(key, submission.claim)
    lighter = submission.linear | {"weights": [0.1, 0.2, 0, 4e-7, 1e29]}  # type: ignore[operator]
    changed = json.loads(json.dumps(submission.contract))
    changed["inputs"][1]["default"] = 99
    for other in (
        {"model": "other"},
        {"format": "pickle"},
        {"contract": Jsonb(changed)},
        {"linear": Jsonb(lighter)},
        {"linear": None},
        {"artifact": (data := linear_artifact([0.2] * 5)), "sha256": artifact.sha256(data)},
    ):
        given = {name: item for name, item in other.items() if proven or name != "sha256"}
        if proven and given.get("linear", 1) is None:
            continue  # not what publish_linear is for
        refused("RS021", submission.send, trainer, signed, proven=proven, **given)
    assert value(trainer, "SELECT count(*) FROM rescore.models") == 0


def test_unsigned_bytes_do_not_reach_the_unpickler(
    model: Model, trainer: Connection, key: Path
) -> None:
    hostile = {"model": "churn", "artifact": b"cposix\nsystem\n(S'true'\ntR."}
    for sqlstate in ("RS002", "RS021"):
        refused(sqlstate, lambda: call(trainer, "publish", hostile))
        refused(sqlstate, lambda: call(trainer, "publish", hostile | {"signature": b"x" * 64}))
        if sqlstate == "RS002":
            trust(model.conn, key)


def test_what_is_signed_must_score_as_the_artefact_does(
    model: Model, trainer: Connection, key: Path
) -> None:
    trust(model.conn, key)
    submission = Submission(model)
    submission.linear = submission.linear | {"intercept": 5.0}  # type: ignore[operator]
    signed = keys.sign(key, replace(submission.claim, linear=submission.linear))
    refused("RS003", lambda: submission.send(trainer, signed, proven=False))


def test_publishers_do_not_choose_whom_to_trust(
    model: Model, trainer: Connection, key: Path
) -> None:
    denied = psycopg.errors.InsufficientPrivilege
    with pytest.raises(denied):
        trainer.execute("INSERT INTO rescore.trusted_keys (name, public_key) VALUES ('a', 'b')")
    trust(model.conn, key)
    for statement in (
        b"DELETE FROM rescore.trusted_keys",
        b"UPDATE rescore.trusted_keys SET name = 'mine'",
        b"TRUNCATE rescore.trusted_keys",
        b"INSERT INTO rescore.models SELECT * FROM rescore.models",
        b"SELECT rescore._signer('churn', 'joblib', '', '{}', NULL, '')",
    ):
        with pytest.raises(denied):
            trainer.execute(statement)


def test_a_removed_key_signs_no_more_and_its_versions_stay(
    model: Model, trainer: Connection, key: Path, tmp_path: Path
) -> None:
    trust(model.conn, key)
    keys.generate(tmp_path / "next")
    submission = Submission(model)
    signed = keys.sign(key, submission.claim)
    assert [submission.send(trainer, signed, proven=False) for _ in range(2)] == [1, 2]
    trust(model.conn, tmp_path / "next", "next")
    keys.remove(model.conn, "release")
    refused("RS021", lambda: submission.send(trainer, signed, proven=False))
    assert value(trainer, "SELECT rescore.rollback('churn')") == 1
    assert 0 <= value(trainer, "SELECT rescore.predict_payload('churn', '{}')") <= 1


def test_models_that_are_not_linear_are_signed_too(
    model: Model, trainer: Connection, key: Path
) -> None:
    import numpy as np
    from sklearn.naive_bayes import GaussianNB

    x = np.random.default_rng(1).normal(size=(60, 5))
    data = artifact.dump(GaussianNB().fit(x, x[:, 0] > 0), "joblib")
    trust(model.conn, key)
    submission = Submission(model, data)
    refused("RS021", lambda: submission.send(trainer, None, proven=False))
    signed = keys.sign(key, submission.claim)
    assert submission.send(trainer, signed, proven=False) == 1
    assert 0 <= value(trainer, "SELECT rescore.predict_payload('churn', '{}')") <= 1


def test_without_python_nothing_is_published_unchecked(plain_db: Connection, key: Path) -> None:
    plain_db.autocommit = True
    model = deploy(plain_db, SIMPLE)
    submission = Submission(model)
    signed = keys.sign(key, submission.claim)
    assert submission.send(plain_db, None, proven=True) == 1
    trust(plain_db, key)
    assert "PL/Python to check" in refused(
        "RS007", lambda: submission.send(plain_db, signed, proven=True)
    )
    refused("RS021", lambda: submission.send(plain_db, None, proven=True))
    keys.remove(plain_db, "release")
    assert submission.send(plain_db, None, proven=True) == 2


def test_without_the_library_nothing_is_published_unchecked(model: Model, key: Path) -> None:
    trust(model.conn, key)
    submission = Submission(model)
    signed = keys.sign(key, submission.claim)
    model.conn.execute(
        "DO $$ import sys; sys.modules['cryptography'] = None $$ LANGUAGE plpython3u"
    )
    for proven in (False, True):
        message = refused("RS007", submission.send, model.conn, signed, proven=proven)
        assert "nothing is published unchecked" in message


LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**53), 2**53)
    | st.text(LETTERS, max_size=8),
    lambda items: (
        st.lists(items, max_size=3)
        | st.dictionaries(
            st.text(LETTERS, max_size=4),
            items,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(contract=JSON, linear=JSON)
def test_what_is_signed_is_the_same_once_the_database_has_kept_it(
    server: Any, contract: Any, linear: Any
) -> None:
    with psycopg.connect(server.dsn) as conn:
        query = "SELECT %s::jsonb::text, %s::jsonb::text"
        row = conn.execute(query, (Jsonb(contract), Jsonb(linear))).fetchone()
    assert row is not None
    here = Claim("m", "joblib", "0", {"c": contract}, {"l": linear})
    there = Claim("m", "joblib", "0", {"c": json.loads(row[0])}, {"l": json.loads(row[1])})
    assert here.message() == there.message()


def test_every_part_of_a_claim_is_signed() -> None:
    claim = Claim("m", "joblib", "0", {"inputs": []}, {"intercept": 1.0})
    others = [
        replace(claim, model="n"),
        replace(claim, format="pickle"),
        replace(claim, sha256="1"),
        replace(claim, contract={"inputs": [1]}),
        replace(claim, contract=None),
        replace(claim, linear={"intercept": 1.0000000000000002}),
        replace(claim, linear=None),
    ]
    messages = {each.message() for each in [claim, *others]}
    assert len(messages) == 8
    assert all(message.startswith(b"rescore model version 1\n") for message in messages)


def test_claims_that_are_no_numbers_of_a_model_are_nobodys() -> None:
    for contract in ({"a": 10**400}, {"a": json.loads("1e999")}):
        claim = Claim("m", "joblib", "0", contract, None)
        assert signature.signer({"k": b"\0" * 32}, claim, b"\0" * 64) is None


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    cli.app([*arguments, "--json"], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


def test_the_command_line(
    model: Model,
    dsn: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, file = tmp_path / "key", tmp_path / "model.joblib"
    made = run(capsys, "keys", "generate", str(key))
    assert made["public"] == f"{key}.pub"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    added = run(capsys, "keys", "add", "release", f"{key}.pub", "--dsn", dsn)
    assert added["fingerprint"] == made["fingerprint"]
    file.write_bytes(linear_artifact(WEIGHTS))
    publishing = ("publish", "churn", str(file), "--dsn", dsn, "--no-sweep")
    with pytest.raises(SignatureRefused, match="is not signed"):
        run(capsys, *publishing)
    assert run(capsys, *publishing, "--key", str(key))["version"] == 1
    monkeypatch.setenv("RESCORE_KEY", str(key))
    assert run(capsys, *publishing)["version"] == 2
    (listed,) = run(capsys, "keys", "list", "--dsn", dsn)
    assert (listed["name"], listed["versions"]) == ("release", 2)
    assert listed["fingerprint"] == made["fingerprint"]
    assert run(capsys, "keys", "remove", "release", "--dsn", dsn)["removed"] is True
    assert run(capsys, "keys", "list", "--dsn", dsn) == []


def test_estimators_are_signed_in_a_notebook(model: Model, key: Path) -> None:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    trust(model.conn, key)
    fitted = LogisticRegression().fit(np.eye(2, 5), [0, 1])
    assert publish(fitted, model="churn", conn=model.conn, key=key) == 1
    with pytest.raises(SignatureRefused):
        publish(fitted, model="churn", conn=model.conn)


def test_keys_are_registered_once_and_by_name(db: Connection, key: Path) -> None:
    db.autocommit = True
    trust(db, key)
    for name in ("release", "again"):
        with pytest.raises(WrongUsage, match="registered already"):
            trust(db, key, name)
    for name in ("", "n" * 64, "a\nb"):
        with pytest.raises(WrongUsage, match="no name"):
            trust(db, key, name)
    with pytest.raises(WrongUsage, match='no key is named "relaese"') as caught:
        keys.remove(db, "relaese")
    assert "Registered keys: release." in caught.value.detail


def test_wrong_key_files_are_named(tmp_path: Path, key: Path) -> None:
    claim = Claim("m", "joblib", "0", {}, None)
    curve = ec.generate_private_key(ec.SECP256R1())
    other = tmp_path / "curve"
    other.write_bytes(
        curve.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public = key.with_name("key.pub")
    (tmp_path / "text").write_text("no key")
    for path in (other, public, tmp_path / "text"):
        with pytest.raises(WrongUsage, match="holds no private Ed25519 key"):
            keys.sign(path, claim)
    for path in (other, key, tmp_path / "text"):
        with pytest.raises(WrongUsage, match="holds no public Ed25519 key"):
            keys.public_key(path)
    with pytest.raises(WrongUsage, match="cannot read"):
        keys.sign(tmp_path / "absent", claim)
    with pytest.raises(WrongUsage, match="is there already"):
        keys.generate(key)
    key.chmod(0o640)
    with pytest.raises(WrongUsage, match="by others") as caught:
        keys.sign(key, claim)
    assert "chmod 600" in caught.value.hint
