"""Where the private server of a run keeps its files: in memory, where there is enough of it.

A test begins with a clone of a database, which is a thousand files: on a disk they take half a
second of processor time, most of what the test takes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rescore.server.account import short_digest
from rescore.server.lock import numbered_home
from rescore.server.private import remove

MEMORY = Path("/dev/shm")
ROOM = 6 * 2**30
"""Bytes that must be free: three times what a run has been seen to take."""


@contextmanager
def own_home() -> Iterator[Path]:
    """The first home no other run is using: several runs in one checkout do not meet."""
    with numbered_home("tests") as home:
        remove(home)  # left behind by a run that was killed
        name = f"rescore-tests-{os.geteuid()}-{short_digest(home)}"
        yield in_memory(name, ROOM) or home


def in_memory(name: str, room: int) -> Path | None:
    """Return a directory of that name in memory, our own; None where there is no room for it.

    What a run that was killed has left there is removed: it may hold the room.

    Parameters
    ----------
    room: bytes that must be free.
    """
    folder = MEMORY / name
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC or not _is_own(folder):
        return None
    remove(folder)
    return folder if _free() >= room and _is_own(folder) else None


def _is_own(folder: Path) -> bool:
    """Make a directory, open to traversal by the server's account; say whether it is ours alone."""
    try:
        folder.mkdir()
        folder.chmod(0o711)
    except FileExistsError:  # anybody may make a file or a link of this name
        pass
    except OSError:
        return False
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return ours and not found.st_mode & 0o022


def _free() -> int:
    disk = os.statvfs(MEMORY)
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return min(disk.f_bavail * disk.f_frsize, memory * 1024)
