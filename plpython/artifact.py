"""Artefacts: reading and writing model files without running what is in them.

The only place where bytes from outside become Python objects.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import os
import pickle
import sys
import warnings
import zlib
from functools import cache
from importlib import metadata
from pathlib import PurePath
from typing import Any, Literal, Protocol, cast

from rescore.errors import ArtefactRefused, RescoreError
from rescore.plpython import limits
from rescore.plpython.refusal import plain

Format = Literal["joblib", "pickle", "skops"]

_SUFFIXES: dict[str, Format] = {
    ".joblib": "joblib",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".skops": "skops",
}
_WARNINGS = 10
"""So many are passed on: every tree of a forest may have its own."""
_LIBRARIES = ("scikit-learn", "numpy", "scipy", "joblib", "skops")


def sha256(data: bytes) -> str:
    """Return the SHA-256 of an artefact in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a model's numbers."""
    # Its own from the code: inside the server rescore may be a folder without metadata.
    own: str = sys.modules["rescore"].__version__
    versions = {"python": ".".join(map(str, sys.version_info[:3])), "rescore": own}
    return versions | _installed()


@cache
def _installed() -> dict[str, str]:
    # Once: each is parsed from a file of the package's, a tenth of what publishing takes.
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def sniff(source: str | os.PathLike[str] | bytes) -> Format:
    """Tell an artefact's format from its file name or its first bytes.

    Raises
    ------
    ArtefactRefused
        If neither the suffix nor the content is that of a known format.
    """
    found = _by_content(source) if isinstance(source, bytes) else _by_suffix(PurePath(source))
    if found is None:
        shown = f"{source[:8]!r}..." if isinstance(source, bytes) else str(source)
        raise ArtefactRefused(
            f"{shown} is no artefact of a known format",
            detail="Known are .joblib, .pkl, .pickle and .skops files.",
            hint="Save the estimator with joblib.dump or skops.io.dump.",
        )
    return found


def _by_suffix(path: PurePath) -> Format | None:
    return next((_SUFFIXES[s] for s in reversed(path.suffixes) if s in _SUFFIXES), None)


def _by_content(data: bytes) -> Format | None:
    if data.startswith(b"PK\x03\x04"):
        return "skops"
    if _decompressor(data) is not None:
        return "joblib"
    if data.startswith(b"\x80"):
        return "joblib" if b"joblib.numpy_pickle" in data else "pickle"
    return None


def load(data: bytes, format: Format) -> Any:
    """Return the estimator in an artefact; warns if another scikit-learn version wrote it.

    Parameters
    ----------
    data: the file's content; how much it may hold is in :mod:`rescore.plpython.limits`.
    format: how it was written.

    Raises
    ------
    ArtefactRefused
        If it is too large, damaged, or holds anything but an allow-listed fitted estimator.
    """
    estimator, messages = load_with_warnings(data, format)
    for message in messages:
        warnings.warn(message, stacklevel=2)
    return estimator


def load_with_warnings(data: bytes, format: Format) -> tuple[Any, list[str]]:
    """Return the estimator in an artefact, and what its libraries had to say about it."""
    from rescore.plpython import graph

    limits.BYTES.check(len(data))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = _guarded(data, format)
        try:
            graph.check(estimator)
        except RescoreError:
            raise
        except Exception as error:
            raise _damaged(error) from error
    said = sorted({_first_sentence(str(entry.message)) for entry in caught})
    return estimator, said[:_WARNINGS]


def _first_sentence(message: str) -> str:
    return plain(message.split(". ")[0].strip())


def _guarded(data: bytes, format: Format) -> Any:
    try:
        return _read(data, format)
    except RescoreError:
        raise
    except Exception as error:  # damaged bytes can raise anything at all
        raise _damaged(error) from error


def _damaged(error: Exception) -> ArtefactRefused:
    return ArtefactRefused(
        f"artefact cannot be read: {type(error).__name__}: {plain(str(error))}",
        detail="The file is truncated, damaged, or written by library versions too far apart.",
        hint="Save the estimator again, with the scikit-learn and NumPy versions of the server.",
    )


def _read(data: bytes, format: Format) -> Any:
    if format == "skops":
        from rescore.plpython import skops_file

        return skops_file.load(data)
    if format not in ("joblib", "pickle"):
        raise ArtefactRefused(
            f"unknown artefact format {plain(format)}", hint="Use joblib, pickle or skops."
        )
    from rescore.plpython.unpickler import unpickle

    return unpickle(decompress(data))


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _decompressor(data: bytes) -> _Decompressor | None:
    """Return the decompressor for joblib's compressed files; None when not compressed."""
    if data.startswith(b"\x1f\x8b"):
        return cast(_Decompressor, zlib.decompressobj(31))
    if data.startswith(b"\x78"):
        return cast(_Decompressor, zlib.decompressobj())
    if data.startswith(b"BZh"):
        return cast(_Decompressor, bz2.BZ2Decompressor())
    if data.startswith((b"\xfd7zXZ", b"\x5d\x00")):
        return cast(_Decompressor, lzma.LZMADecompressor(memlimit=4 * limits.UNPACKED.most))
    return None


def decompress(data: bytes) -> bytes:
    """Return a joblib file decompressed, stopping as soon as it is too large."""
    decompressor = _decompressor(data)
    if decompressor is None:
        return data
    unpacked = decompressor.decompress(data, limits.UNPACKED.most + 1)
    limits.UNPACKED.check(len(unpacked))
    if not decompressor.eof or decompressor.unused_data:
        raise ArtefactRefused(
            "compressed artefact is truncated or has bytes left over",
            hint="Copy the file again, or save the estimator again.",
        )
    return unpacked


def dump(estimator: Any, format: Format) -> bytes:
    """Return an artefact of a fitted estimator that :func:`load` will accept.

    Raises
    ------
    ArtefactRefused
        If the estimator is not fitted or not on the allow-list.
    """
    from rescore.plpython import graph

    graph.check(estimator)
    data = _write(estimator, format)
    limits.BYTES.check(len(data))
    return data


def _write(estimator: Any, format: Format) -> bytes:
    if format == "skops":
        import skops.io

        return cast(bytes, skops.io.dumps(estimator))
    if format == "pickle":
        return pickle.dumps(estimator)
    import joblib

    buffer = io.BytesIO()
    # zlib's checksum tells a flipped bit; a plain pickle would load with another weight.
    joblib.dump(estimator, buffer, compress=("zlib", 3))
    return buffer.getvalue()
