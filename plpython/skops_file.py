"""Reading ``.skops`` files: a zip of a schema and arrays.

skops trusts every scikit-learn estimator by default, FunctionTransformer included, and believes
sizes, references and repeated names of the zip. So the file is taken apart here, its schema is
written anew with nothing in it but what the allow-list has, and skops reads that.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

from rescore.plpython import estimators, limits
from rescore.plpython.refusal import plain, refuse
from rescore.plpython.skops_schema import PLAIN, TRUSTED, Rewriting

_MEMBER = re.compile(r"schema\.json|\d{1,30}\.npy", re.ASCII)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENTRY = b"PK\x01\x02"


def load(data: bytes) -> Any:
    """Return the estimator of a .skops file.

    Raises
    ------
    ArtefactRefused
        If the zip or the schema holds anything an allow-listed estimator does not need.
    """
    import skops.io

    members = _unpack(data)
    if "schema.json" not in members:
        raise refuse("artefact has no schema.json")
    text = members.pop("schema.json")
    limits.SCHEMA.check(len(text))
    # What parsing makes of the text is bounded by these.
    limits.BRACKETS.check(text.count(b"{") + text.count(b"["))
    schema = Rewriting(members).schema(json.loads(text))
    return skops.io.loads(_pack(schema, members), trusted=sorted((TRUSTED | _former()) - PLAIN))


def _former() -> set[str]:
    return {f"_loss.{name.rpartition('.')[2]}" for name in estimators.LOSSES}


def _unpack(data: bytes) -> dict[str, bytes]:
    """Return the members of a zip, having read no more than the limit in all."""
    limits.ARRAYS.check(data.count(_ENTRY))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        limits.UNPACKED.check(sum(entry.file_size for entry in entries))
        members: dict[str, bytes] = {}
        for entry in entries:
            _check_entry(entry, members)
            with archive.open(entry) as member:
                # Never read(): it unpacks whatever is there before it looks at the size.
                members[entry.filename] = member.read(entry.file_size + 1)
    return members


def _check_entry(entry: zipfile.ZipInfo, members: dict[str, bytes]) -> None:
    if not _MEMBER.fullmatch(entry.orig_filename) or entry.filename in members:
        raise refuse(f"artefact has a file named {plain(entry.orig_filename)} inside")
    if entry.compress_type not in _METHODS or entry.flag_bits & 0x1:
        raise refuse("artefact is a zip of an unusual compression, or encrypted")


def _pack(schema: dict[str, Any], members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("schema.json", json.dumps(schema))
    return packed.getvalue()
