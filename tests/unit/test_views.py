"""Where a name is: by its directory's path, or in whichever container an image is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.model.entries import Entry, Listing
from swiftimgfs.model.images_view import ImagesView
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.paths import StorePath
from swiftimgfs.model.views import Layout, RawView, ViewOptions, view_of
from swiftimgfs.store.naming import Naming
from swiftimgfs.store.records import ImageInfo

ROOT = StorePath()
LIST_TIMEOUT = 60.0


def file_entry(container, name):
    info = ImageInfo(container=container, name=name, size=1, etag="e", last_modified_ns=0)
    return Entry(name, Kind.FILE, info=info)


class FakeStore:
    """Containers and the names in them; the requests that were made are in `asked`."""

    def __init__(self, **containers):
        self.containers = {name: set(names) for name, names in containers.items()}
        self.segment_containers = set()
        self.asked = []

    def _of(self, container):
        if container not in self.containers:
            raise errors.NotFoundError(container)
        return self.containers[container]

    async def list_all(self, container, prefix):
        self.asked.append(("names", container))
        await trio.lowlevel.checkpoint()
        return [SimpleNamespace(name=name) for name in self._of(container)]

    async def list_page(self, container, **_):
        await trio.lowlevel.checkpoint()
        return SimpleNamespace(has_any=bool(self._of(container)))

    async def head_container(self, container):
        await trio.lowlevel.checkpoint()
        self._of(container)
        return SimpleNamespace(is_our_segment_container=container in self.segment_containers)

    async def put_container(self, container):
        await trio.lowlevel.checkpoint()
        self.containers.setdefault(container, set())

    async def delete_container(self, container):
        self.asked.append(("delete", container))
        await trio.lowlevel.checkpoint()
        if self._of(container):
            raise errors.DirectoryNotEmptyError(container)
        del self.containers[container]


class FakeDirectories:
    """What `Directories` says of a `FakeStore`; `account` is the account's listing."""

    def __init__(self, store):
        self.store = store
        self.account = None

    async def lookup(self, path):
        await trio.lowlevel.checkpoint()
        return Entry(path.component, Kind.DIRECTORY)

    async def lookup_image(self, path):
        self.store.asked.append(("image", str(path)))
        await trio.lowlevel.checkpoint()
        if path.name not in self.store.containers.get(path.container, ()):
            raise errors.NotFoundError(str(path))
        return file_entry(path.container, path.name)

    async def listing(self, path):
        await trio.lowlevel.checkpoint()
        if path.is_root:
            names = self.store.containers if self.account is None else self.account
            return Listing({name: Entry(name, Kind.DIRECTORY) for name in names}, 0, 0.0)
        if path.container not in self.store.containers:
            raise errors.NotFoundError(str(path))
        entries = {
            name.removesuffix("/"): Entry(name.removesuffix("/"), Kind.DIRECTORY)
            if name.endswith("/")
            else file_entry(path.container, name)
            for name in self.store.containers[path.container]
        }
        return Listing(entries, 0, 0.0)


def images_view(store: Any, *, create_containers=False, **naming):
    options = ViewOptions(Layout.IMAGES, Naming(**naming), create_containers)
    directories: Any = FakeDirectories(store)
    view: Any = view_of(options, store, directories, list_timeout=LIST_TIMEOUT)
    return view


def places(listing):
    return {name: entry.info.container for name, entry in listing.entries.items()}


async def test_in_the_raw_layout_the_parents_path_leads_to_a_name():
    store: Any = FakeStore(c=[])
    directories: Any = FakeDirectories(store)
    view = view_of(ViewOptions(Layout.RAW, Naming()), store, directories, list_timeout=1)

    entry = await view.lookup(StorePath("c", "d"), "x")

    assert isinstance(view, RawView)
    assert view.place_of(StorePath("c", "d"), entry) == StorePath("c", "d/x")
    assert view.new_place(ROOT, "c") == StorePath("c")


async def test_in_the_raw_layout_no_image_is_beside_the_containers():
    directories: Any = FakeDirectories(FakeStore())
    view = RawView(directories)

    view.check_may_have_directories(ROOT)
    await view.prepare(StorePath("c", "x"))
    with pytest.raises(errors.NotPermittedError):
        await view.prepare(StorePath("x"))


async def test_an_image_where_the_driver_puts_it_is_asked_for_there_alone():
    store = FakeStore(glance_ab=["abc"], glance_cd=["abc"], glance=[])
    view = images_view(store, seed=2)

    entry = await view.lookup(ROOT, "abc")

    assert isinstance(view, ImagesView)
    assert view.place_of(ROOT, entry) == StorePath("glance_ab", "abc")
    assert store.asked == [("image", "glance_ab/abc")]


async def test_an_image_elsewhere_is_found_in_the_first_container_that_has_it():
    store = FakeStore(glance_ab=[], glance_cd=["abc"], glance=["abc"], other=["abc"])
    view = images_view(store, seed=2)

    entry = await view.lookup(ROOT, "abc")

    assert view.place_of(ROOT, entry) == StorePath("glance", "abc")


async def test_names_of_other_containers_are_listed_once_within_the_list_timeout(
    autojump_clock,
):
    store = FakeStore(glance=[], glance_ab=[], glance_cd=[])
    view = images_view(store)

    async def miss():
        with pytest.raises(errors.NotFoundError):
            await view.lookup(ROOT, "abc")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(miss)
        nursery.start_soon(miss)
    first = [asked for asked in store.asked if asked[0] == "names"]
    await trio.sleep(LIST_TIMEOUT + 1)
    store.containers["glance_cd"].add("abc")
    found = await view.lookup(ROOT, "abc")

    assert sorted(first) == [("names", "glance_ab"), ("names", "glance_cd")]
    assert found.info.container == "glance_cd"


async def test_an_image_that_a_name_list_has_and_that_is_gone_is_not_found():
    store = FakeStore(glance=[], glance_ab=["abc"])
    view = images_view(store)
    await view.lookup(ROOT, "abc")
    store.containers["glance_ab"].clear()

    with pytest.raises(errors.NotFoundError):
        await view.lookup(ROOT, "abc")


async def test_one_that_is_not_in_swift_yet_is_where_it_will_be():
    view = images_view(FakeStore(), seed=2)

    assert view.place_of(ROOT, Entry("abc", Kind.FILE)) == StorePath("glance_ab", "abc")


async def test_the_images_of_all_the_stores_containers_are_listed():
    store = FakeStore(
        glance=["1"], glance_ab=["ab1"], glance_segments=["s"], glance_photos=["p"], other=["o"]
    )

    listing = await images_view(store).listing(ROOT)

    assert places(listing) == {"1": "glance", "ab1": "glance_ab"}
    assert listing.hidden == 0


async def test_directories_and_second_images_of_a_name_are_hidden():
    store = FakeStore(
        glance=["abc", "ab/", "x"], glance_ab=["abc"], glance_cd=["abc", "x"], glance_ef=["cde"]
    )

    listing = await images_view(store, seed=2).listing(ROOT)

    assert places(listing) == {"abc": "glance_ab", "x": "glance", "cde": "glance_ef"}
    assert listing.hidden == 4


async def test_a_container_that_was_removed_meanwhile_has_no_images():
    view = images_view(store := FakeStore(glance=["1"]))
    view._directories.account = ["glance", "glance_ab"]

    assert places(await view.listing(ROOT)) == {"1": "glance"}
    assert "glance_ab" not in store.containers


async def test_a_container_that_we_made_is_there_before_the_account_lists_it():
    view = images_view(FakeStore(glance=[]), seed=2, create_containers=True)
    view._directories.account = ["glance"]

    await view.prepare(StorePath("glance_ab", "abc"))
    view._store.containers["glance_ab"].add("abc")

    assert places(await view.listing(ROOT)) == {"abc": "glance_ab"}


async def test_a_missing_container_is_not_made_unless_that_is_allowed():
    view = images_view(store := FakeStore(glance=[]), seed=2)

    with pytest.raises(errors.NotFoundError, match="create_container_on_put"):
        await view.prepare(StorePath("glance_ab", "abc"))

    assert list(store.containers) == ["glance"]


async def test_an_image_that_would_not_be_listed_is_refused():
    view = images_view(store := FakeStore(), seed=2, create_containers=True)

    with pytest.raises(errors.NotPermittedError):
        await view.prepare(view.new_place(ROOT, ".abc.Xa12"))

    assert store.containers == {}


def test_there_are_no_directories_among_images():
    with pytest.raises(errors.NotPermittedError):
        images_view(FakeStore()).check_may_have_directories(ROOT)


async def nothing_waits(_container):
    await trio.lowlevel.checkpoint()


async def test_a_container_of_one_image_goes_with_it_and_its_segment_container():
    store = FakeStore(glance=[], glance_ab=["doomed"], glance_ab_segments=[], other=[])
    store.segment_containers.add("glance_ab_segments")
    view = images_view(store, is_multi_tenant=True)

    async def delete_what_waits(container):
        await trio.lowlevel.checkpoint()
        store.containers[container].clear()

    await view.left(["glance_ab", "glance", "other"], delete_what_waits)

    assert set(store.containers) == {"glance", "other"}


async def test_a_container_that_has_objects_is_kept():
    store = FakeStore(glance_ab=["x"])

    await images_view(store, is_multi_tenant=True).left(["glance_ab"], nothing_waits)

    assert store.asked == []


async def test_a_container_that_swift_takes_for_full_is_kept(autojump_clock):
    store: Any = FakeStore(glance_ab=["x"])
    view = images_view(store, is_multi_tenant=True)

    async def empty(*_, **__):
        await trio.lowlevel.checkpoint()
        return SimpleNamespace(has_any=False)  # the listing is ahead of what DELETE looks at

    store.list_page = empty
    await view.left(["glance_ab"], nothing_waits)

    assert "glance_ab" in store.containers


async def test_containers_that_images_share_are_kept():
    store = FakeStore(glance=[], glance_ab=[])

    await images_view(store, seed=2).left(["glance_ab", "glance"], nothing_waits)

    assert set(store.containers) == {"glance", "glance_ab"}
