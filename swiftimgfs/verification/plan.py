"""What to read of an image, and what to compare it with. Pure.

An image is a `Plan` of `Check`s: ranges whose digest is known. Without a digest of the whole
image its segments are read side by side; with one, all digests are made in one pass, because
each byte is a byte from Swift.

Only an etag that is the MD5 of just the bytes that the image shows says anything: a part of
an object (an SLO's `range`), bytes in the manifest itself, etags that are no MD5, and a
segment that is a manifest itself cannot be checked, and are never called wrong.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.writing.digests import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from swiftimgfs.writing.signatures import ImageSignature

_MD5: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Digest:
    """What a digest of a whole image is said to be, and by whom.

    Attributes:
        algorithm: A name that hashlib may know.
        value: Hexadecimal.
        origin: Who says so.
    """

    algorithm: str
    value: str
    origin: str

    def problem(self) -> str | None:
        """Return why it cannot be compared with, if it cannot."""
        if self.algorithm not in ALGORITHMS:
            return f"{self.origin}: unknown algorithm {self.algorithm!r}"
        digits = hashlib.new(self.algorithm, usedforsecurity=False).digest_size * 2
        if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", self.value):
            return f"{self.origin}: not {digits} hexadecimal digits, as {self.algorithm} has"
        return None

    def difference(self, got: str) -> str | None:
        """Return what is wrong when the digest is `got`, if anything is."""
        return None if got == self.value else f"{self.algorithm} is {got}, not {self.value}"


@dataclass(frozen=True, slots=True)
class SignedDigest(Digest):
    """A digest that somebody has signed: what it has to be, only the signature can tell.

    Attributes:
        signature: Which.
        certificates: Directory of the certificates.
    """

    signature: ImageSignature
    certificates: Path

    @classmethod
    def of(cls, signature: ImageSignature, certificates: Path) -> SignedDigest:
        """Return the digest that `signature` signs; with a method nobody knows, any."""
        algorithm = "sha256"
        with contextlib.suppress(errors.SignatureError):
            algorithm = signature.algorithm
        return cls(algorithm, "", "signature", signature, certificates)

    def difference(self, got: str) -> str | None:
        """Return why the signature is not that of the bytes, if it is not; reads a file."""
        from swiftimgfs.writing.signature_check import check  # noqa: PLC0415  -- see there

        now = datetime.datetime.now(datetime.UTC)
        try:
            check(self.signature, bytes.fromhex(got), self.certificates, now)
        except errors.SignatureError as failure:
            return str(failure)
        return None


@dataclass(frozen=True, slots=True)
class Segment:
    """A row of `user.swift.segments`."""

    name: str
    offset: int
    size: int
    etag: str
    start: int
    object_size: int

    @property
    def problem(self) -> str | None:
        """Why its etag says nothing of its bytes, if it does not."""
        if (self.start, self.size) != (0, self.object_size):
            return "are parts of objects"
        return None if _MD5.fullmatch(self.etag) else "have an etag that is no MD5"


@dataclass(frozen=True, slots=True)
class Facts:
    """What an image's attributes say of it.

    Attributes:
        zeros: How many of its bytes are zeros by its manifest: it names objects for them with
            the MD5 that zeros have, so there is nothing left to compare.
    """

    size: int
    etag: str
    is_large: bool
    segments: tuple[Segment, ...] = ()
    digests: tuple[Digest, ...] = ()
    signature: ImageSignature | None = None
    zeros: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """A range of an image whose digest is known; with the number of the segment that it is."""

    offset: int
    size: int
    digest: Digest
    segment: int | None = None

    @property
    def end(self) -> int:
        """First byte after it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Lane:
    """A range that is read in order, for one or several sequences of checks."""

    offset: int
    size: int
    tracks: tuple[tuple[Check, ...], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How an image is verified.

    Attributes:
        wholes: Checks of the whole image.
        segments: Checks of its segments, in order.
        gaps: What cannot be checked, and why.
        is_unsure: One of them is a signature: however many digests are right, nobody knows
            who made the image.
        lanes: What is read.
    """

    wholes: tuple[Check, ...]
    segments: tuple[Check, ...]
    gaps: tuple[str, ...]
    is_unsure: bool = False

    @property
    def lanes(self) -> list[Lane]:
        """What is read: every byte that a check needs, once."""
        if self.wholes:
            # What segments differ says more, and so comes first.
            tracks = [self.segments, *((check,) for check in self.wholes)]
            return [Lane(0, self.wholes[0].size, tuple(filter(None, tracks)))]
        return [Lane(check.offset, check.size, ((check,),)) for check in self.segments]

    def without(self, checks: Collection[Check], why: str) -> Plan:
        """Return the plan without segments of which nothing can be said after all."""
        if not checks:
            return self
        left = tuple(check for check in self.segments if check not in checks)
        return replace(
            self, segments=left, gaps=(*self.gaps, f"{len(checks)} of the segments are {why}")
        )

    def summary(self) -> str:
        """Return what is compared."""
        parts = [check.digest.origin for check in self.wholes]
        if count := len(self.segments):
            parts.append(f"{count} segment{'s' * (count != 1)}")
        return " and ".join((", ".join(parts[:-1]), parts[-1]) if parts[1:] else parts)


def plan_of(
    facts: Facts, given: Digest | None = None, certificates: Path | None = None
) -> Plan:
    """Return how to verify an image.

    Args:
        facts: What is known of it.
        given: A digest beside its own.
        certificates: Directory of those that signatures are verified with.
    """
    gaps = []
    wholes = []
    is_unsure = facts.signature is not None and certificates is None
    if is_unsure:
        gaps.append("signature: no certificates to verify it with")
    if facts.signature is not None and certificates is not None:
        signed = SignedDigest.of(facts.signature, certificates)
        wholes.append(Check(0, facts.size, signed))
    for digest in (*facts.digests, *([given] if given else ())):
        problem = digest.problem()
        if problem:
            gaps.append(problem)
        else:
            wholes.append(Check(0, facts.size, digest))
    checks = []
    unknown: dict[str, int] = {}
    for number, segment in enumerate(facts.segments):
        if segment.problem:
            unknown[segment.problem] = unknown.get(segment.problem, 0) + 1
        else:
            origin = f"segment {segment.name}"
            digest = Digest("md5", segment.etag, origin)
            checks.append(Check(segment.offset, segment.size, digest, number))
    gaps += [f"{n} of {len(facts.segments)} segments {why}" for why, n in unknown.items()]
    rest = facts.size - facts.zeros - sum(segment.size for segment in facts.segments)
    if facts.is_large and rest:
        gaps.append(f"{rest} bytes are in the manifest itself")
    return Plan(tuple(wholes), tuple(checks), tuple(gaps), is_unsure)
