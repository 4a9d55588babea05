"""The port `Entropy` drawn from a seed, one independent stream per name."""

from __future__ import annotations

import hashlib
import random

_DIGEST_BYTES = 32


class SeededEntropy:
    """Chance that repeats.

    A stream is a function of the seed and of the path of names alone: not of what other
    streams were asked, nor of PYTHONHASHSEED. So one consumer more or less leaves the
    others as they were, which lets a failing fault plan be shrunk.

    :param seed: any integer.
    :param name: the root of the path.
    """

    def __init__(self, seed: int, name: str = "") -> None:
        self._begin(f"{seed}".encode(), name)

    def _begin(self, parent: bytes, name: str) -> None:
        # The parent's part is a digest of fixed length (or, at the root, the key), so
        # a path cannot be confused with another one that joins to the same text.
        digest = hashlib.blake2b(
            name.encode(), key=parent[:64], digest_size=_DIGEST_BYTES, person=b"holdfast"
        ).digest()
        self._digest = digest
        self._generator: random.Random | None = None

    def _stream(self) -> random.Random:
        # Seeding costs far more than a hash, and a parent is often asked for children only.
        if self._generator is None:
            self._generator = random.Random(int.from_bytes(self._digest, "big"))
        return self._generator

    def random(self) -> float:
        """In [0, 1)."""
        generator = self._generator
        return self._stream().random() if generator is None else generator.random()

    def randbits(self, bits: int) -> int:
        """A non-negative integer of at most `bits` bits."""
        return self._stream().getrandbits(bits)

    def child(self, name: str) -> SeededEntropy:
        """The stream of that name below this one; asked again, it begins anew."""
        child = SeededEntropy.__new__(SeededEntropy)
        child._begin(self._digest, name)
        return child
