"""What a Swift cluster says of itself at `/info`: limits and storage policies. Pure.

Source: Swift's "Discoverability" and the `/info` of swift 2.38.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Limits:
    """What the cluster allows; Swift's own defaults where `/info` is not for us to see.

    Attributes:
        most_metadata: How many keys an image or a container has.
        largest_metadata: Bytes of all its keys and values.
        policies: Names of the storage policies, the default one first; empty if not told.
        policy_aliases: Their other names.
        version: Of Swift; empty if not told.
    """

    listing: int = 10_000
    largest_object: int = 5 * 1024**3
    manifest_segments: int = 1000
    largest_manifest: int = 8 * 1024**2
    smallest_segment: int = 1
    longest_name: int = 1024
    longest_container_name: int = 256
    longest_meta_name: int = 128
    longest_meta_value: int = 256
    most_metadata: int = 90
    largest_metadata: int = 4096
    policies: tuple[str, ...] = ()
    policy_aliases: tuple[str, ...] = ()
    version: str = ""

    @property
    def largest_image(self) -> int:
        """Bytes that a manifest without others in it can name."""
        return self.manifest_segments * self.largest_object

    def has_policy(self, name: str) -> bool:
        """Return whether there is a storage policy of a name, as far as the cluster tells."""
        known = {known.lower() for known in (*self.policies, *self.policy_aliases)}
        return not self.policies or name.lower() in known


def limits_of(answer: Mapping[str, Mapping[str, Any]]) -> Limits:
    """Return what `/info` answered, with defaults for what it leaves out."""
    swift, slo, default = answer.get("swift", {}), answer.get("slo", {}), Limits()
    policies = sorted(swift.get("policies", ()), key=lambda row: not row.get("default"))
    return Limits(
        listing=swift.get("container_listing_limit", default.listing),
        largest_object=swift.get("max_file_size", default.largest_object),
        manifest_segments=slo.get("max_manifest_segments", default.manifest_segments),
        largest_manifest=slo.get("max_manifest_size", default.largest_manifest),
        smallest_segment=slo.get("min_segment_size", default.smallest_segment),
        longest_name=swift.get("max_object_name_length", default.longest_name),
        longest_container_name=swift.get(
            "max_container_name_length", default.longest_container_name
        ),
        longest_meta_name=swift.get("max_meta_name_length", default.longest_meta_name),
        longest_meta_value=swift.get("max_meta_value_length", default.longest_meta_value),
        most_metadata=swift.get("max_meta_count", default.most_metadata),
        largest_metadata=swift.get("max_meta_overall_size", default.largest_metadata),
        policies=tuple(row["name"] for row in policies),
        policy_aliases=tuple(
            alias.strip() for row in policies for alias in row.get("aliases", "").split(",")
        ),
        version=swift.get("version", ""),
    )
