"""Set-up: which PostgreSQL and Python it takes, what it says when it cannot, what is packaged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rescore.server.account import PACKAGE
from rescore.server.private import Server

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETUP = PACKAGE / "server" / "setup.sh"


def run_setup(postgres: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run set-up, never installing a package; ``postgres`` holds the versions to be found."""
    environment = {**os.environ, "RESCORE_NO_INSTALL": "1"}
    if postgres is not None:
        environment["RESCORE_PG_ROOT"] = str(postgres)
    return subprocess.run(
        [SETUP], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )


def test_nothing_to_do_is_done_at_once() -> None:
    if not (PACKAGE / ".venv" / "setup.stamp").exists():
        pytest.skip("this environment was not made by make setup")
    before = time.monotonic()
    done = run_setup()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - before < 2


def test_missing_packages_are_named(tmp_path: Path) -> None:
    done = run_setup(tmp_path)
    assert done.returncode == 1
    named = r"missing.*: postgresql-(\d+) postgresql-plpython3-\1( |\n)"
    assert re.search(named, done.stderr)
    assert "sudo apt-get install postgresql-" in done.stderr


def test_plpython_is_wanted_for_the_newest_postgresql_there_is(tmp_path: Path) -> None:
    for version in ("9.6", "13", "14", "16"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    done = run_setup(tmp_path)
    assert done.returncode == 1
    assert "postgresql-plpython3-16" in done.stderr


def test_a_postgresql_too_old_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "13" / "lib").mkdir(parents=True)
    (tmp_path / "13" / "lib" / "plpython3.so").touch()
    done = run_setup(tmp_path)
    assert done.returncode == 1
    assert "postgresql-plpython3-13" not in done.stderr


def test_the_environment_has_the_python_of_plpython(server: Server) -> None:
    with psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
        connection.execute(
            "CREATE FUNCTION pg_temp.version() RETURNS text LANGUAGE plpython3u"
            " AS 'import sys; return sys.version'"
        )
        assert connection.execute("SELECT pg_temp.version()").fetchone() == (sys.version,)
        connection.rollback()


@pytest.fixture(scope="module")
def setuptools_table() -> dict[str, Any]:
    with (PACKAGE / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["tool"]["setuptools"])


def package_folders() -> Iterator[Path]:
    """The folders of the checkout that are packages; bench and torture are not distributed."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "*__init__.py"],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    folders = (Path(name).parent for name in tracked.stdout.split("\0") if name)
    return (folder for folder in folders if folder.name not in ("bench", "torture"))


def test_every_package_is_listed(setuptools_table: dict[str, Any]) -> None:
    found = {".".join(["rescore", *folder.parts]) for folder in package_folders()}
    assert set(setuptools_table["packages"]) == found


def test_every_data_file_is_packaged(setuptools_table: dict[str, Any]) -> None:
    patterns = setuptools_table["package-data"]["*"]
    left_out = [
        path
        for folder in package_folders()
        if folder.parts
        for path in (PACKAGE / folder).iterdir()
        if path.is_file() and path.suffix not in (".py", ".sh", ".md", ".pyc")
        if not any(fnmatch(path.name, pattern) for pattern in patterns)
    ]
    assert left_out == []


def test_the_private_server_takes_its_tuning_from_a_package(tmp_path: Path) -> None:
    """An installed copy, not the checkout, has all that `rescore server start` needs."""
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
    subprocess.run([*wheel, str(source)], check=True, capture_output=True)
    (made,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(made, tmp_path / "unpacked", "zip")
    for name in ("server/demo.conf", "server/tests.conf", "py.typed"):
        assert (tmp_path / "unpacked" / "rescore" / name).exists()
