"""What is written in links, and where it leads."""

from __future__ import annotations

import pytest

from swiftimgfs.model.links import kept_text, names_at, shown_text, text_to

MOUNT = ("/mnt/store",)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x", ("c", "d", "x")),
        ("./x", ("c", "d", "x")),
        ("../x", ("c", "x")),
        ("../../c2//x", ("c2", "x")),
        ("../../../x", None),
        ("/mnt/store/c/x", ("c", "x")),
        ("/mnt/store/../x", None),
        ("/mnt/storey/c/x", None),
        ("/etc/passwd", None),
    ],
)
def test_a_text_leads_to_names_below_the_mount_or_nowhere(
    text: str, names: tuple[str, ...] | None
) -> None:
    assert names_at(("c", "d"), text, MOUNT) == names


@pytest.mark.parametrize("target", [("c", "d", "x"), ("c", "x"), ("c2", "e", "x")])
def test_the_shortest_text_leads_where_it_is_meant_to(target: tuple[str, ...]) -> None:
    assert names_at(("c", "d"), text_to(("c", "d"), target), MOUNT) == target


def test_the_text_that_a_link_was_made_with_shows_while_it_leads_to_the_same() -> None:
    kept = kept_text(b"./x y%")

    assert shown_text(("c",), ("c", "x y%"), kept, MOUNT) == "./x y%"
    assert shown_text(("c", "d"), ("c", "x y%"), kept, MOUNT) == "../x y%"


def test_a_text_that_swift_cannot_keep_is_not_kept() -> None:
    assert kept_text("ü".encode() * 43) == {}
