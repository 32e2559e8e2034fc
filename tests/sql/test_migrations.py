"""Released migrations stay as they are, and the metadata says what they make."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from rescore.migrations.tables import SCHEMA, metadata
from rescore.sql.install import install
from rescore.tests.sweep_shop import SHOP, shop
from rescore.trainer.sweep import Terms, sweep

RELEASED: dict[str, str] = {
    "0001_initial.py": "1aa0ae2dba22d72cbf40f67504e314f9a93fa14224b3477d501be0f19544e1e8",
    "0001_initial.sql": "f5c2883f2661e0859193cfc56fdf0497600bfac8aeb074cdebd13481dab5e00e",
    "0002_signatures.py": "1bd8afd7546034e29c2a4aad94ffa7c7360048fbd6f547522f0322dfcf1b3f3e",
    "0002_signatures.sql": "8f1ded3e3ae4573bde68076d7c947fc549915652da541510d5c38e316a1c14bc",
    "0003_outbox.py": "d13ccec6884ad551fc3ef80d0982c050b8ae52b255c6d10d05c349fc7755198c",
    "0003_outbox.sql": "c675e4686619cecf638fa4895cf6066776b65f3a92028a555d4dc284b2f11d53",
    "0004_sweeps.py": "4d2133e8239d5b376b8bb5ead329e21c6aaa6bca320dc8a21bee06c0ee93d072",
    "0004_sweeps.sql": "8e84a88a28775170927e392087775d89802c556d0bb6d88091e73723368c2f2e",
    "0005_snapshots.py": "7a0199a133cdc328700c2c0478e0288d55657c21836355677c7eb825ffc0ec84",
    "0005_snapshots.sql": "dfa625d3447031bf64c147077685ff283159e3ef87d309973f171498a04af916",
    "0006_learning.py": "cd22cdd2dffc5c99744c1727419b9737e4a81bbe5fe8d45d7db1f13b86b61b28",
    "0006_learning.sql": "25d85a7aa8e9c67a0857ab16041ad44cbb99595ded11837bba11b57f1e356f22",
    "0007_traffic.py": "667b3adfa389b60de8cd13d0e97ac44a1febef16f9dc33419b17c176b4e7bd5d",
    "0007_traffic.sql": "edbd5cb96cc83ede43955c63ba38454cebdc6d6c4a65b40ccd5d68665ceb3b38",
    "0009_tombstones.py": "8855da4ed15feae3c3c22f058b3fd124f8b1ccdfaa40217a4117d173633cebd5",
    "0009_tombstones.sql": "e217c3f070e83e437b5c68d8fd4af1349dfdfc3a8937fe245d4c3dada8055fae",
    "0010_queue.py": "0de59331fe1ea3ce0415a2b2dd903f2c4d04c87ed1b865351b3657b125841684",
    "0010_queue.sql": "74532eba96b9ba07af4116ad07da2f29307b29f1b8e07d7ba1ab589c830a0275",
    "0011_sweep_parts.sql": "95835f1babe2209d822f1c399c6c177d2ffbc096e8d676db724c5a8773b68d0f",
    "0011_sweep_parts.py": "1539b71b52c97ee99102f6524d9093a343da815218131acbd973b2f9dec63021",
    "0012_cluster.py": "0a70632a944ef27a3d69dfbb79208bcdf0fa3bb108fc3607cc2b60fb665cc5ae",
    "0012_cluster.sql": "9afea32a36144f77415f0f84ae83b76f900833eee97e8c0165c835a95a9d0efe",
    "0013_hashes.py": "2328b69cf4e2d816405d6cc1f00e9a89b3a65c1e969b6ba6fce6b310751237bf",
    "0013_hashes.sql": "5b0d90fe43446f266e66ce59fa075c058ce317793e8c009534cab6a65b845b09",
    "0014_judging.py": "9f83ebec13a87ea361f3fad2aef45d468438a698836fb74e9c88287d10b7d935",
    "0014_judging.sql": "ccb2c54c1cf0d1313c10858cfde5d5fc4e169fed47b785409db59cfbc483d8c5",
    "0015_runner.py": "54563dc29327943dec664d77b64aadddc34c36768d1b7c1aa1f64150e2ce7a2f",
    "0015_runner.sql": "5e92cd9bec0e11e7b030a9036af3149f266af09db593cd37b5cb19dada9818f3",
    "0016_dropped.py": "0676914ad04552ebdcf1f1216ff6ff8b6a7ce84514b0fe3ebfe000dbf91d8bb1",
    "0016_dropped.sql": "311f97c1bfa58ce04969bb6a8c37331c42c9d5087f3adcdc5a0b025901047660",
}
"""SHA-256 of each released file. A change of the tables is a new revision, never an edit."""


def test_released_migrations_are_frozen() -> None:
    folder = files("rescore.migrations.versions")
    found = {
        e.name: hashlib.sha256(e.read_bytes()).hexdigest()
        for e in folder.iterdir()
        if e.name[0].isdigit()
    }
    assert found == RELEASED


def _is_compared(name: str | None, kind: str, _: Any) -> bool:
    """Whether alembic compares it; partitions are made as moments come."""
    if kind == "schema":
        return name == SCHEMA
    return not (kind == "table" and str(name).startswith("snapshots_"))


def test_metadata_is_what_the_migrations_make(dsn: str) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    options = {
        "version_table_schema": SCHEMA,
        "include_schemas": True,
        "include_name": _is_compared,
        "compare_server_default": True,
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


@contextmanager
def _tables(dsn: str, revision: str) -> Iterator[psycopg.Connection[Any]]:
    """Make the tables as a revision has them."""
    config = Config()
    config.set_main_option("script_location", str(files("rescore.migrations")))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA rescore")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        engine.dispose()
        yield conn


def test_a_sweep_begun_before_there_were_parts_is_the_first_part(empty_dsn: str) -> None:
    with _tables(empty_dsn, "0010") as conn:
        conn.execute(
            """INSERT INTO rescore.sweeps (profile, terms, position, size, looked)
               VALUES ('customers', '{}', '42', 10, 42)"""
        )
        install(empty_dsn)
        found = conn.execute("SELECT part, position, until, looked FROM rescore.sweeps")
        assert found.fetchall() == [(1, "42", None, 42)]
        conn.execute(SHOP.encode())
        shop(conn)
        for jobs in (2, 1):
            done = sweep(conn, "customers", Terms(), jobs=jobs)
            assert (done.looked, done.finished) == (300, True)


def test_a_drop_written_as_a_demotion_is_told_from_one(empty_dsn: str) -> None:
    history = "SELECT model, action, version, previous, at, by, reason, details FROM rescore.deployment_history ORDER BY id"
    with _tables(empty_dsn, "0015") as conn:
        conn.execute(
            """INSERT INTO rescore.deployment_history (model, action, version, previous, at, by, reason, details)
               SELECT model, action, 3, 2, timestamptz '2026-01-01 00:00+00', 'ann', reason, details::jsonb
               FROM (VALUES ('loyal', 'publish', NULL, NULL), ('loyal', 'demote', 'version 4 challenges in its place', NULL),
                            ('loyal', 'demote', 'surely worse', '{"rule": "demote"}'),
                            ('churn', 'demote', 'the model was dropped: tidied up', '{"dropped": {"rescore.snapshots": [1000, 90000]}}')
                    ) AS h (model, action, reason, details)"""
        )
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("UPDATE rescore.deployment_history SET action = 'drop'")
        before = conn.execute(history).fetchall()
        assert install(empty_dsn).before == "0015"
        assert conn.execute(history).fetchall() == [
            (model, "drop" if model == "churn" else action, *rest)
            for model, action, *rest in before
        ]
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("UPDATE rescore.deployment_history SET action = 'dropped'")


def test_versions_are_immutable(model: Any) -> None:
    model.publish([0.1, 0.2, 0.3, 0.4, 0.5])
    for change in ("artifact = ''", "linear = '{}'", "contract = '{}'", "engine = 'python'"):
        with pytest.raises(psycopg.Error) as caught:
            model.conn.execute("UPDATE rescore.models SET " + change)
        assert caught.value.sqlstate == "RS016"
    with pytest.raises(psycopg.Error) as caught:
        model.conn.execute("DELETE FROM rescore.models")
    assert caught.value.sqlstate == "RS016"
    model.conn.execute("UPDATE rescore.models SET metrics = '{\"auc\": 0.8}'")


def test_artefacts_are_stored_as_they_are(db: psycopg.Connection[Any]) -> None:
    row = db.execute(
        "SELECT attstorage FROM pg_attribute "
        "WHERE attrelid = 'rescore.models'::regclass AND attname = 'artifact'"
    ).fetchone()
    assert row == ("e",)
