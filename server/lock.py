"""One process at a time starts or stops a private server."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from rescore.errors import Busy, NotAllowed
from rescore.server.account import default_home

LOCK_SECONDS = 120


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the home's lock; it is the kernel's, so a killed process leaves nothing behind."""
    make_home(home)
    with (home / "lock").open("a") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _try_lock(lock.fileno()):
            if time.monotonic() > deadline:
                raise Busy(f"another process holds {home / 'lock'}", hint="See what it is doing.")
            time.sleep(0.05)
        yield


@contextmanager
def numbered_home(name: str) -> Iterator[Path]:
    """The first home of this name that no other process holds, as long as the block runs."""
    homes = default_home()
    homes.mkdir(parents=True, exist_ok=True)
    for number in count():
        with (homes / f"{name}-{number}.lock").open("a") as lock:
            if _try_lock(lock.fileno()):
                yield homes / f"{name}-{number}"
                return


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def make_home(home: Path) -> None:
    """Make the home; root's must be open to traversal by the server's account."""
    try:
        for folder in [*reversed(home.parents), home]:
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                folder.chmod(0o755)
    except PermissionError as error:
        raise NotAllowed(f"{home} cannot be made", detail=str(error)) from None
