"""Start, stop and find the private PostgreSQL.

It has its own data directory, a socket, and a free port on loopback; it never touches the
system's cluster. Everything it writes is below its home (see :mod:`rescore.server.account`)::

    home/data     the cluster        home/run    the socket
    home/log      the server's log   home/lock   held while starting and stopping
    home/python   see :mod:`rescore.server.libraries`
    home/cdnow    what the demo has downloaded
"""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from psycopg.conninfo import make_conninfo

from rescore.errors import NoServer, NotAllowed
from rescore.server.account import Account, default_home, server_account, socket_dir
from rescore.server.binaries import Binaries, find_binaries
from rescore.server.lock import locked

ROLE = "rescore"
PORT_ATTEMPTS = 5
LOG_LINES = 20
CONTENTS = ("data", "data.new", "log", "run", "python", "cdnow")


@dataclass(frozen=True)
class Server:
    """A private server that is running.

    Attributes
    ----------
    dsn: connection string, over the socket, of the superuser and the database ``postgres``.
    port: on 127.0.0.1, and in the socket's name.
    socket_dir: the ``host`` of a connection over the socket.
    data: the data directory.
    log: the server's log.
    pid: process of the postmaster.
    version: ``"15.4"``.
    """

    dsn: str
    port: int
    socket_dir: Path
    data: Path
    log: Path
    pid: int
    version: str


def start(home: Path | None = None, tuning: str = "demo") -> Server:
    """Start the private server, or return the one that is already running.

    Parameters
    ----------
    home: where its files are; :func:`~rescore.server.account.default_home` if not given.
    tuning: ``"demo"`` or ``"tests"``: the file of that name beside this module.

    Raises
    ------
    NoServer: PostgreSQL is missing or does not start; names the log and shows its end.
    Busy: another process has been starting or stopping it for two minutes.
    """
    home = _home(home)
    account = server_account()
    with locked(home):
        running = status(home)
        return running if running else _launch(home, account, tuning)


def stop(home: Path | None = None) -> bool:
    """Stop the private server; return whether it was running.

    Raises
    ------
    NoServer: it does not stop within a minute.
    """
    home = _home(home)
    if not home.exists():
        return False
    with locked(home):
        return _stop(home)


def status(home: Path | None = None) -> Server | None:
    """Return the private server if it is running.

    Raises
    ------
    NotAllowed: it was started by another account, whose files cannot be read.
    """
    home = _home(home)
    lines = _pid_file(home / "data")
    if len(lines) < 5 or not _is_postmaster(int(lines[0]), home / "data"):
        return None
    port, folder = int(lines[3]), Path(lines[4])
    return Server(
        dsn=make_conninfo(host=str(folder), port=port, user=ROLE, dbname="postgres"),
        port=port,
        socket_dir=folder,
        data=home / "data",
        log=_log(home),
        pid=int(lines[0]),
        version=_binaries(home).version,
    )


def remove(home: Path | None = None) -> None:
    """Stop the private server and delete what rescore made in its home, data included."""
    home = _home(home)
    stop(home)
    for folder in (socket_dir(home), *(home / name for name in CONTENTS)):
        shutil.rmtree(folder, ignore_errors=True)
    (home / "lock").unlink(missing_ok=True)
    if home.exists() and not any(home.iterdir()):
        home.rmdir()


def _home(home: Path | None) -> Path:
    return default_home() if home is None else home.resolve()


def _log(home: Path) -> Path:
    return home / "log" / "postgresql.log"


def _binaries(home: Path) -> Binaries:
    """The PostgreSQL that made the data directory; the preferred one when there is none."""
    made_by = home / "data" / "PG_VERSION"
    return find_binaries(int(made_by.read_text()) if made_by.exists() else None)


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []
    except PermissionError:
        raise NotAllowed(
            f"{data} cannot be read",
            detail="The private server there was started by another account.",
            hint="Use that account, or choose another place with RESCORE_HOME.",
        ) from None


def _is_postmaster(pid: int, data: Path) -> bool:
    """Tell a live postmaster from a stale pid file: its working directory is the data directory."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except OSError:
        return False


def _launch(home: Path, account: Account, tuning: str) -> Server:
    folder = socket_dir(home)
    for owned in (home / "log", folder):
        account.own(owned)
    binaries = _binaries(home)
    if not (home / "data").exists():
        _create_cluster(home, account, binaries)
    # A process that got the stale file's number would make PostgreSQL believe it is running.
    (home / "data" / "postmaster.pid").unlink(missing_ok=True)
    for _ in range(PORT_ATTEMPTS):
        _configure(home, account, _settings(tuning, binaries), _free_port(home), folder)
        if _run_postgres(home, account, binaries):
            break
        if not _port_taken(home):
            raise _cannot_start(home)
    server = status(home)
    if server is None:
        raise _cannot_start(home)
    return server


def _create_cluster(home: Path, account: Account, binaries: Binaries) -> None:
    """Run initdb beside the final place: a run cut short leaves no half-made data directory."""
    unfinished = home / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    account.own(unfinished)
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    command: list[str | Path] = [
        binaries.folder / "initdb",
        f"--username={ROLE}",
        *options,
        "-D",
        unfinished.name,
    ]
    done = account.run(command, cwd=home)
    if done.returncode != 0:
        _append(_log(home), done.stdout + done.stderr, account)
        raise _cannot_start(home)
    with (unfinished / "postgresql.conf").open("a") as conf:
        conf.write("\ninclude 'rescore.conf'\n")
    unfinished.rename(home / "data")


def _settings(tuning: str, binaries: Binaries) -> str:
    """The file ``<tuning>.conf``, and ``<tuning>.<library>.conf`` of each library installed."""
    folder, libraries = files("rescore.server"), binaries.folder.parent / "lib"
    if not (folder / f"{tuning}.conf").is_file():
        raise NoServer(f"there is no tuning {tuning!r}", hint="Use 'demo' or 'tests'.")
    names = [entry.name.split(".") for entry in folder.iterdir()]
    extra = sorted(parts[1] for parts in names if len(parts) == 3 and parts[0] == tuning)
    found = [library for library in extra if (libraries / f"{library}.so").exists()]
    wanted = [f"{tuning}.conf", *(f"{tuning}.{library}.conf" for library in found)]
    return "\n".join((folder / name).read_text() for name in wanted)


def _configure(home: Path, account: Account, settings: str, port: int, folder: Path) -> None:
    place = f"port = {port}\nlisten_addresses = '127.0.0.1'\n"
    place += f"unix_socket_directories = '{folder}'\nunix_socket_permissions = 0700\n"
    conf = home / "data" / "rescore.conf"
    conf.unlink(missing_ok=True)
    _append(conf, settings + "\n# Chosen at the last start\n" + place, account)


def _append(path: Path, text: str, account: Account) -> None:
    with path.open("a") as file:
        file.write(text)
    if os.geteuid() == 0:
        os.chown(path, account.uid, account.gid)


def _run_postgres(home: Path, account: Account, binaries: Binaries) -> bool:
    """Start and wait; names are relative because pg_ctl puts them into a shell's command."""
    log = _log(home).relative_to(home)
    command: list[str | Path] = [binaries.folder / "pg_ctl", "start", "-w", "-t", "60", "-s"]
    return account.run([*command, "-D", "data", "-l", log], cwd=home).returncode == 0


def _stop(home: Path) -> bool:
    if status(home) is None:
        return False
    command: list[str | Path] = [
        _binaries(home).folder / "pg_ctl",
        "stop",
        "-w",
        "-t",
        "60",
        "-m",
        "fast",
    ]
    done = server_account().run([*command, "-D", "data"], cwd=home)
    if done.returncode != 0:
        raise NoServer("the private server does not stop", detail=done.stderr + _log_end(home))
    return True


def _free_port(home: Path) -> int:
    """The port of last time, so that BI tools find it again; any free one if that is taken."""
    conf = home / "data" / "rescore.conf"
    lines = conf.read_text().splitlines() if conf.exists() else []
    last = next((int(line[7:]) for line in lines if line.startswith("port = ")), 0)
    return _bindable(last) or _bindable(0)


def _bindable(port: int) -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


def _port_taken(home: Path) -> bool:
    """Whether somebody took the port between our asking and the server's binding."""
    return "Address already in use" in _log_end(home)


def _log_end(home: Path) -> str:
    log = _log(home)
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-LOG_LINES:])


def _cannot_start(home: Path) -> NoServer:
    return NoServer(
        "the private server cannot start",
        detail=f"The end of its log, {_log(home)}:\n{_log_end(home)}",
        hint=f"Mend what the log names, or delete {home} to begin anew.",
    )
