"""The bytes of a segment: header, frames, and finding the next frame after damage.

A segment is a header (twice, in different sectors, so that one damaged byte does
not lose the segment), then frames until the first zero. A frame is, little-endian:

    u32 crc     zlib.crc32 over the rest of the frame, started with the salt
    u32 word    kind << 24 | length of the body
    u64 wire    salt + seq
    body

The salt is random per segment and fills the upper 39 bits of `wire`. So bytes of
another segment, or of a payload, never pass for a frame of this one, and after
damage the next frame is found by a plain search for five known bytes. An ack frame
has the acknowledged seq in the place of its own and no body.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .errors import RecordTooLarge
from .port import CHECKPOINT, MAX_BODY_BYTES, MAX_CHECKPOINT_BYTES, MAX_KIND, RandBits, Record

MAGIC = b"holdfast"
VERSION = 1
#: Where the second copy of the header lies: another sector than the first.
HEADER_COPY_OFFSET = 512
DATA_OFFSET = 1024
ACK = 241

_SEQ_BITS = 24  # low bits of `wire` that the salt leaves free, and of `word` for the length
_LENGTH_MASK = (1 << _SEQ_BITS) - 1
_HEADER = struct.Struct("<8sIIQQQQQ")
_CRC = struct.Struct("<I")
_FRAME = struct.Struct("<IIQ")
FRAME_BYTES = _FRAME.size
HEADER_BYTES = _HEADER.size + _CRC.size

pack_crc = _CRC.pack
#: `Record(*fields)` without the Python frame of a named tuple's constructor.
make_record: Callable[[tuple[int, int, int, bytes]], Record] = functools.partial(
    tuple.__new__, Record
)
pack_word_and_wire = struct.Struct("<IQ").pack


class Header(NamedTuple):
    """:ivar version: of the format. :ivar ordinal: number of the segment, never used again.
    :ivar base_seq: its first record. :ivar acked: at the time of writing."""

    version: int
    ordinal: int
    base_seq: int
    acked: int
    incarnation: int
    salt: int

    @property
    def crc_seed(self) -> int:
        return self.salt >> _SEQ_BITS & 0xFFFFFFFF

    def pack(self) -> bytes:
        packed = _HEADER.pack(MAGIC, self.version, 0, *self[1:])
        return packed + pack_crc(zlib.crc32(packed))


def random_salt(randbits: RandBits) -> int:
    # The top bit used (62) keeps the searched bytes from being zero, as free space is.
    return (randbits(38) | 1 << 38) << _SEQ_BITS


def parse_header(data: bytes) -> Header | None:
    """Read a header from the first bytes of a segment, from whichever copy is whole.

    Both copies whole means the larger `acked`, for the second is updated in place.
    A later version keeps this layout of its first 64 bytes, so that it can be named.
    """
    copies = []
    for offset in (0, HEADER_COPY_OFFSET):
        raw = data[offset : offset + HEADER_BYTES]
        if len(raw) < HEADER_BYTES or zlib.crc32(raw[:-4]) != _CRC.unpack(raw[-4:])[0]:
            continue
        magic, version, _, *rest = _HEADER.unpack(raw[:-4])
        if magic == MAGIC:
            copies.append(Header(version, *rest))
    return max(copies, key=lambda header: header.acked) if copies else None


def header_damage(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield offset and size of what is not as it was written in a segment's first bytes."""
    for offset in (0, HEADER_COPY_OFFSET):
        if parse_header(data[offset : offset + HEADER_BYTES]) is None:
            yield offset, HEADER_BYTES
        rest = data[offset + HEADER_BYTES : offset + HEADER_COPY_OFFSET]
        if rest.strip(b"\0"):
            yield offset + HEADER_BYTES, len(rest)


def encode(salt: int, crc_seed: int, kind: int, seq: int, body: bytes) -> bytes:
    tail = pack_word_and_wire(kind << _SEQ_BITS | len(body), salt + seq) + body
    return pack_crc(zlib.crc32(tail, crc_seed)) + tail


def kind_of(frame: bytes) -> int:
    return frame[7]


class Mark(NamedTuple):
    """A frame boundary from which reading can start."""

    seq: int
    offset: int


@dataclass(slots=True)
class Gap:
    """Bytes between two valid frames, and the records that the numbering says were there."""

    offset: int
    bytes: int
    first_missing: int = 0
    last_missing: int = 0


@dataclass(slots=True)
class Walk:
    """One pass over consecutive frames of a segment, resuming after damage.

    Iterate `frames`; the other fields are valid when it is exhausted.

    :ivar data: bytes of the file from `origin` on.
    :ivar next_seq: seq expected next.
    :ivar bound: seqs from here on are not served: a later segment holds them.
    :ivar end: file offset after the last valid frame.
    :ivar last_gap: the last gap, if no record follows it: what it held is not known here.
    """

    header: Header
    data: bytes
    next_seq: int
    bound: int | None = None
    origin: int = 0
    start: int = 0
    end: int = 0
    acked: int = 0
    checkpoint: int = 0
    gaps: list[Gap] = field(default_factory=list)
    last_gap: Gap | None = None

    def frames(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield `(seq, kind, start of body, end of body)` of every valid record, in order."""
        data, seed, salt = self.data, self.header.crc_seed, self.header.salt
        view = memoryview(data)
        unpack, crc32 = _FRAME.unpack_from, zlib.crc32
        size, at, next_seq = len(data), self.start, self.next_seq
        last_start = size - FRAME_BYTES
        bound, superseded = self.bound if self.bound is not None else 1 << 64, False
        while at <= last_start:
            crc, word, wire = unpack(data, at)
            body_end = at + FRAME_BYTES + (word & _LENGTH_MASK)
            if body_end <= size and crc32(view[at + 4 : body_end], seed) == crc:
                seq, kind = wire - salt, word >> _SEQ_BITS
                if kind == ACK:
                    self.acked = max(self.acked, seq)
                    at = body_end
                    continue
                if seq >= next_seq:
                    if seq != next_seq or self.last_gap is not None:
                        self._settle(at, next_seq, min(seq, bound) - 1)
                    if seq >= bound:
                        next_seq, superseded = bound, True
                        break
                    if kind == CHECKPOINT:
                        self.checkpoint = seq
                    yield seq, kind, at + FRAME_BYTES, body_end
                    next_seq = seq + 1
                    at = body_end
                    continue
            resumed_at = self._resync(at, next_seq)
            if resumed_at is None:
                break
            self.last_gap = Gap(self.origin + at, resumed_at - at)
            self.gaps.append(self.last_gap)
            at = resumed_at
        self.next_seq = next_seq
        self.end = self.origin + at
        if not superseded:
            self._note_tail(at)

    def _settle(self, at: int, first_missing: int, last_missing: int) -> None:
        """A record follows, and its number tells what the gap before it held."""
        gap, self.last_gap = self.last_gap, None
        if first_missing > last_missing:
            return  # nothing but an ack
        if gap is None:
            gap = Gap(self.origin + at, 0)
            self.gaps.append(gap)
        gap.first_missing, gap.last_missing = first_missing, last_missing

    def _note_tail(self, at: int) -> None:
        rest = self.data[at:]
        if rest != bytes(len(rest)):
            self.last_gap = Gap(self.origin + at, len(rest.rstrip(b"\0")))
            self.gaps.append(self.last_gap)

    def _resync(self, damaged_at: int, next_seq: int) -> int | None:
        """Find the next whole frame."""
        data, salt, seed = self.data, self.header.salt, self.header.crc_seed
        # A segment has fewer than 2^24 frames, so the upper parts of its seqs differ by one
        # at most; an ack may carry an earlier one.
        upper = (salt + next_seq) >> _SEQ_BITS
        patterns = [(upper + i).to_bytes(5, "little") for i in (-1, 0, 1)]
        hits = [data.find(pattern, damaged_at + 12) for pattern in patterns]
        while any(hit >= 0 for hit in hits):
            which = min((i for i in range(3) if hits[i] >= 0), key=hits.__getitem__)
            at = hits[which] - 11
            hits[which] = data.find(patterns[which], hits[which] + 1)
            crc, word, wire = _FRAME.unpack_from(data, at)
            body_end = at + FRAME_BYTES + (word & _LENGTH_MASK)
            if body_end > len(data):
                continue
            if zlib.crc32(memoryview(data)[at + 4 : body_end], seed) == crc and (
                word >> _SEQ_BITS == ACK or wire - salt >= next_seq
            ):
                return at
        return None


def records(walk: Walk) -> list[Record]:
    """Return every record of the pass.

    Reading back a backlog is mostly this. So the owner's records that follow each other,
    as nearly all do, have a loop without a generator, which is a tenth faster; from the
    first frame on that is anything else, `Walk.frames` judges.
    """
    data, header = walk.data, walk.header
    seed, incarnation = header.crc_seed, header.incarnation
    unpack, crc32 = _FRAME.unpack_from, zlib.crc32
    at, seq, size = walk.start, walk.next_seq, len(data)
    expected, bound, last = header.salt + seq, walk.bound, size - FRAME_BYTES
    found: list[Record] = []
    while at <= last and seq != bound:
        crc, word, wire = unpack(data, at)
        end = at + FRAME_BYTES + (word & _LENGTH_MASK)
        rest = data[at + 4 : end]
        if (
            wire != expected
            or word >> _SEQ_BITS > MAX_KIND
            or end > size
            or crc32(rest, seed) != crc
        ):
            break
        found.append(make_record((seq, word >> _SEQ_BITS, incarnation, rest[12:])))
        seq, expected, at = seq + 1, expected + 1, end
    walk.start, walk.next_seq = at, seq
    found += [
        make_record((seq, kind, incarnation, data[start:end]))
        for seq, kind, start, end in walk.frames()
    ]
    return found


def check_kind(kind: int) -> None:
    """:raises ValueError: the kind is not one of the owner's."""
    if not 0 < kind <= MAX_KIND:
        raise ValueError(f"kind {kind} is not in 1 to {MAX_KIND}")


def largest_body(segment_bytes: int) -> int:
    """Bytes of the largest record that segments of this size take."""
    return min(MAX_BODY_BYTES, segment_bytes // 2)


def largest_checkpoint(segment_bytes: int) -> int:
    """Bytes of the largest checkpoint that segments of this size take."""
    return min(MAX_CHECKPOINT_BYTES, segment_bytes // 2)


def segment_for_checkpoint(checkpoint_bytes: int) -> int | None:
    """Bytes of the smallest segments that take a checkpoint of this size; None: there are none."""
    return 2 * checkpoint_bytes if checkpoint_bytes <= MAX_CHECKPOINT_BYTES else None


def frame_size(kind: int, body: bytes, *, segment_bytes: int) -> int:
    """:raises RecordTooLarge: the record fits no segment, whatever the disk has free."""
    largest = largest_checkpoint if kind == CHECKPOINT else largest_body
    allowed = largest(segment_bytes)
    if len(body) > allowed:
        raise RecordTooLarge(
            f"a record of {len(body)} bytes: {allowed} at most in segments of {segment_bytes}"
        )
    return FRAME_BYTES + len(body)
