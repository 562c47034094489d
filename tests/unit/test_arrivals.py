"""What is shown of a listing does not depend on where its pages end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swiftimgfs.model.arrivals import Arrivals
from swiftimgfs.store.containers import Page
from swiftimgfs.store.records import ObjectRow

NAMES = st.lists(st.text("a-./", min_size=1, max_size=5), unique=True, max_size=14)


def listed(names, prefix=""):
    """Return what Swift lists with a delimiter: objects, and directories once."""
    items = set()
    for name in names:
        if name.startswith(prefix):
            component, slash, _ = name[len(prefix) :].partition("/")
            items.add(prefix + component + slash)
    return sorted(items, key=str.encode)


def pages_of(items, size):
    for start in range(0, len(items), size) or [0]:
        some = items[start : start + size]
        is_last = start + size >= len(items)
        rows = [ObjectRow(name, 1, "e", 1, "x/y") for name in some if not name.endswith("/")]
        subdirs = [name for name in some if name.endswith("/")]
        yield Page(rows, subdirs, None if is_last else some[-1])


def shown(items, size):
    arrivals = Arrivals("")
    files, directories, hidden = [], [], 0
    for page in pages_of(items, size):
        arrived = arrivals.take(page)
        files += [row.name for row in arrived.rows]
        directories += arrived.directories
        hidden += arrived.hidden
    return files, directories, hidden


@given(NAMES, st.integers(1, 15))
def test_pages_of_any_size_show_the_same(names, size):
    items = listed(names)

    files, directories, hidden = shown(items, size)
    whole = shown(items, 100)

    assert sorted(files) == sorted(set(files)) == sorted(whole[0])
    assert sorted(directories) == sorted(set(directories)) == sorted(whole[1])
    assert hidden == whole[2]
    assert not set(files) & set(directories)
    assert len(files) + len(directories) + hidden == len(items)


def test_the_first_names_show_before_the_last_page():
    arrivals = Arrivals("")
    first, *_ = pages_of(["a", "b", "b/", "c"], 2)

    arrived = arrivals.take(first)

    assert [row.name for row in arrived.rows] == ["a"]


def test_names_with_a_dot_wait_for_the_manifests_that_may_name_them():
    first, second = pages_of([".segments-x-1", "a", "b", "x"], 3)
    arrivals = Arrivals("")

    before = [row.name for row in arrivals.take(first).rows]
    after = [row.name for row in arrivals.take(second).rows]

    assert before == ["a"]
    assert after == [".segments-x-1", "b", "x"]
