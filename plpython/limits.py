"""How much an artefact may hold: every limit, in one place.

They are far above what models of the allow-list need, and low enough that reading, proving and
scoring the worst file stays within a gigabyte and a minute. ``rescore._limit`` repeats those that
SQL checks too.
"""

from __future__ import annotations

from dataclasses import dataclass

from rescore.errors import ArtefactRefused


@dataclass(frozen=True)
class Limit:
    """A largest number of something.

    Attributes
    ----------
    what: is counted.
    most: is allowed.
    hint: what to do about more.
    """

    what: str
    most: int
    hint: str = "Publish a smaller model: fewer or shallower trees, no training data kept inside."

    def check(self, value: int) -> None:
        """Refuse a value above the limit, naming both."""
        if value > self.most:
            # A number of a million digits takes too long to write.
            shown = value if value < 2**64 else f"2**{value.bit_length() - 1} or more"
            raise ArtefactRefused(
                f"artefact has {shown} {self.what}, more than {self.most}",
                hint=self.hint,
            )


BYTES = Limit("bytes", 64 * 2**20)
UNPACKED = Limit("bytes when decompressed", 64 * 2**20)
STEPS = Limit("steps of unpickling", 2_000_000)
"""An instruction is one step, a call ten: each makes at most a small object."""
SCHEMA = Limit("bytes in its schema", 32 * 2**20)
BRACKETS = Limit("braces and brackets in its schema", 500_000)
NODES = Limit("objects in its schema", 100_000)
ARRAYS = Limit("arrays", 100_000)
ELEMENTS = Limit("elements", 16 * 2**20)
"""Numbers and other values, each as often as something refers to it; longer ones by 8 bytes."""
DEPTH = Limit("levels of nesting", 50)
DIMENSIONS = Limit("dimensions of an array", 8)
PIPELINE = Limit("steps in its Pipeline", 20)
KEYS = Limit("keys in one dictionary", 1_000)
COLUMNS = Limit(
    "design columns", 10_000, "Give fewer categories columns of their own: one_hot: {top: 30}."
)
UNITS = Limit("units in one layer", 10_000)
CLASSES = Limit("classes or outputs", 1_000, "rescore scores one number: train on two classes.")
PROBES = Limit("probes", 1_000)
