"""The private server: started, found, stopped, and kept from other servers' way."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rescore.errors import NoServer
from rescore.server import account, private
from rescore.server.account import server_account
from rescore.server.binaries import find_binaries
from rescore.server.libraries import python_path


@pytest.fixture
def home() -> Iterator[Path]:
    """A home the server's account can reach, unlike pytest's own temporary directories."""
    top = Path(tempfile.mkdtemp(prefix="rescore-test-"))
    top.chmod(0o755)
    yield top / "home"
    private.remove(top / "home")
    shutil.rmtree(top)


def ask(server: private.Server, question: str) -> str:
    """The one value of a query, as text."""
    with psycopg.connect(server.dsn) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return str(row[0])


def test_starting_twice_returns_the_one_that_runs(home: Path) -> None:
    first = private.start(home, tuning="tests")
    assert private.start(home, tuning="tests") == first
    assert private.status(home) == first
    assert ask(first, "SELECT current_user") == "rescore"
    assert ask(first, "SHOW server_version").startswith(first.version)


def test_stopping_twice(home: Path) -> None:
    private.start(home, tuning="tests")
    assert private.stop(home)
    assert not private.stop(home)
    assert private.status(home) is None


def test_nothing_runs_where_nothing_was_started(home: Path) -> None:
    assert private.status(home) is None
    assert not private.stop(home)
    assert not home.exists()


def test_starts_racing_for_one_home_agree(home: Path) -> None:
    program = (
        "import sys, pathlib; from rescore.server.private import start;"
        "print(start(pathlib.Path(sys.argv[1]), tuning='tests').pid)"
    )
    command = [sys.executable, "-Ic", program, str(home)]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    pids = {process.communicate(timeout=120)[0] for process in racing}
    running = private.status(home)
    assert running is not None
    assert pids == {f"{running.pid}\n"}


def test_data_and_port_outlive_a_crash_and_a_stale_pid_file(home: Path) -> None:
    before = private.start(home, tuning="tests")
    with psycopg.connect(before.dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS x")
    with psycopg.connect(before.dsn, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    os.kill(before.pid, signal.SIGQUIT)
    wait_until_gone(home)
    stale = before.data / "postmaster.pid"
    # The number now belongs to a process that is no PostgreSQL: this one.
    stale.write_text(f"{os.getpid()}\n{before.data}\n0\n{before.port}\n{before.socket_dir}\n")
    assert private.status(home) is None
    after = private.start(home, tuning="tests")
    assert after.pid != before.pid
    assert after.port == before.port
    assert ask(after, "SELECT x FROM kept") == "42"


def wait_until_gone(home: Path) -> None:
    for _ in range(200):
        if private.status(home) is None:
            return
        signal.sigtimedwait([], 0.05)
    pytest.fail("the server is still there")


def test_port_of_last_time_is_given_up_when_taken(home: Path) -> None:
    before = private.start(home, tuning="tests")
    private.stop(home)
    with socket.socket() as other:
        other.bind(("127.0.0.1", before.port))
        other.listen()
        after = private.start(home, tuning="tests")
    assert after.port != before.port
    assert ask(after, "SELECT 1") == "1"


def test_only_loopback_and_a_socket_nobody_else_reaches(home: Path) -> None:
    server = private.start(home, tuning="tests")
    assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
    assert server.socket_dir.stat().st_mode & 0o077 == 0
    assert server.data.stat().st_mode & 0o077 == 0
    tcp = psycopg.connect(host="127.0.0.1", port=server.port, user="rescore", dbname="postgres")
    with tcp as connection:
        row = connection.execute("SELECT inet_server_addr()::text").fetchone()
    assert row == ("127.0.0.1/32",)


def test_runs_under_an_unprivileged_account(home: Path) -> None:
    server = private.start(home, tuning="tests")
    assert Path(f"/proc/{server.pid}").stat().st_uid == server_account().uid != 0


def test_a_server_that_cannot_start_shows_its_log(home: Path) -> None:
    private.start(home, tuning="tests")
    private.stop(home)
    with (home / "data" / "postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    with pytest.raises(NoServer) as caught:
        private.start(home, tuning="tests")
    assert str(home / "log" / "postgresql.log") in caught.value.detail
    assert "no_such_setting" in caught.value.detail
    assert caught.value.hint


def test_an_unknown_tuning_is_refused_by_name(home: Path) -> None:
    with pytest.raises(NoServer, match="'fast'"):
        private.start(home, tuning="fast")


def test_a_missing_postgresql_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RESCORE_PG_BIN", str(tmp_path))
    with pytest.raises(NoServer, match=r"PostgreSQL >= 14 is not installed") as caught:
        find_binaries()
    assert "postgresql-plpython3" in caught.value.hint


def test_tuning_is_what_the_file_says(home: Path) -> None:
    server = private.start(home, tuning="tests")
    assert ask(server, "SHOW fsync") == "off"
    private.stop(home)
    server = private.start(home, tuning="demo")
    assert ask(server, "SHOW fsync") == "on"
    assert ask(server, "SHOW cluster_name") == "rescore"


@pytest.mark.parametrize("name", ["with space", 'quote\'s "$HOME" `x`', "höme", "x" * 100])
def test_a_home_of_any_name(home: Path, name: str) -> None:
    odd = home.parent / name
    try:
        server = private.start(odd, tuning="tests")
        assert ask(server, "SHOW data_directory") == str(odd / "data")
        assert len(str(server.socket_dir / ".s.PGSQL.65535")) < 107
    finally:
        private.remove(odd)
    assert not odd.exists()
    assert not account.socket_dir(odd).exists() or account.socket_dir(odd).parent == odd


def test_removing_spares_what_rescore_did_not_make(home: Path) -> None:
    private.start(home, tuning="tests")
    (home / "letter.txt").write_text("mine")
    private.remove(home)
    assert [p.name for p in home.iterdir()] == ["letter.txt"]
    (home / "letter.txt").unlink()


def test_removing_takes_what_the_demo_has_downloaded(home: Path) -> None:
    (home / "cdnow").mkdir(parents=True)
    (home / "cdnow" / "CDNOW_master.txt").write_text("purchases")
    private.remove(home)
    assert not home.exists()


def test_home_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("RESCORE_HOME", str(home))
    assert account.default_home() == home


IMPORTS = """
CREATE FUNCTION pg_temp.imported(folders text[]) RETURNS text LANGUAGE plpython3u AS $$
import sys
sys.path[:0] = folders
import joblib, numpy, scipy, sklearn.linear_model, skops.io
import rescore.plpython, rescore.errors
import os
return f"{sklearn.__version__} {os.environ['OPENBLAS_NUM_THREADS']} {rescore.__file__}"
$$
"""


def imported_in_server(server: private.Server, folders: list[str]) -> list[str]:
    with psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
        connection.execute(IMPORTS)
        row = connection.execute("SELECT pg_temp.imported(%s)", [folders]).fetchone()
    assert row is not None
    return str(row[0]).split(" ", 2)


def test_server_imports_what_the_trainer_has(home: Path) -> None:
    import sklearn

    found = imported_in_server(private.start(home, tuning="tests"), python_path())
    assert found[:2] == [sklearn.__version__, "1"]


def test_an_account_that_cannot_read_the_environment_gets_copies(home: Path) -> None:
    interpreter = root_only_environment(home.parent / "root only")
    command = [str(interpreter), "-Ic", PRINT_PATH]
    environment = {**os.environ, "RESCORE_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    folders = done.stdout.splitlines()
    assert folders == [str(home / "python" / name) for name in ("package", "libraries")]
    found = imported_in_server(private.start(home, tuning="tests"), folders)
    assert found[2].startswith(str(home / "python" / "package"))


PRINT_PATH = "from rescore.server.libraries import python_path; print(*python_path(), sep='\\n')"


def root_only_environment(folder: Path) -> Path:
    """An environment with this one's packages that root alone may enter; its interpreter."""
    if os.geteuid() != 0:
        pytest.skip("only root has files that the server's account cannot read")
    folder.mkdir(mode=0o700)
    venv.create(folder / "venv", with_pip=False)
    ours = Path(sysconfig.get_path("purelib"))
    theirs = folder / "venv" / ours.relative_to(sys.prefix)
    for entry in ours.iterdir():
        (theirs / entry.name).symlink_to(entry)
    return folder / "venv" / "bin" / "python"
