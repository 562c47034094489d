"""Glance mode over a real Swift: what is sent, what fails, and that a DLO is never mixed."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
import trio
import trio.testing

from swiftimgfs import errors
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.store import request
from swiftimgfs.store.records import Manifest
from swiftimgfs.writing import glance_format
from swiftimgfs.writing.deletion import delete_objects
from swiftimgfs.writing.options import LargeObject, WriteOptions
from swiftimgfs.writing.writer import ImageWriter
from tests.support.fault_control import Fault
from tests.support.writers import write_all

SEGMENT = 4096
BODY = bytes(range(1, 251)) * 100  # 25,000 bytes: six segments and a bit
OPTIONS = WriteOptions(
    large_object=LargeObject.GLANCE,
    segment_size=SEGMENT,
    large_object_size=2 * SEGMENT,
    memory_limit=8 * SEGMENT,
    spool_size=16 * SEGMENT,
    connections=4,
)


@pytest.fixture
def faulty(swift):
    """The Swift of all tests: each here has a container of its own."""
    return swift


@pytest.fixture
def client(faulty, container):
    with faulty.client(container) as connection:
        yield connection


class World:
    """A container with one image to be, seen by a mount and by a client."""

    def __init__(self, swift, client, store, container):
        self.swift, self.client, self.store, self.container = swift, client, store, container
        self.image_id = str(uuid.uuid4())

    def stored(self, name="") -> bytes:
        body: bytes = self.client.get_object(self.container, name or self.image_id)[1]
        return body

    def names(self) -> list[str]:
        return [row["name"] for row in self.client.get_container(self.container)[1]]

    def put(self, name, data=b"", **headers) -> None:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self.client.put_object(self.container, name, data, headers=named)

    def requests(self, method):
        path = f"/{self.container}/"
        return [
            r for r in self.swift.control.journal() if r.method == method and path in r.path
        ]

    async def delete_replaced(self, committed) -> None:
        assert await delete_objects(self.store, committed.replaced) == []


@pytest.fixture
def world(swift, client, store, container):
    return World(swift, client, store, container)


@pytest.fixture
def open_writer(world, parts, fetcher):
    def start(*, base=None, is_edit=False, name=None, options=OPTIONS):
        place = world.container, name or world.image_id
        reader = ImageReader(fetcher)
        return ImageWriter(parts(options), *place, reader, base=base, is_edit=is_edit)

    return start


@pytest.fixture
def edit(open_writer, world):
    """Open an image as it is, to be changed."""

    async def start():
        info = await world.store.head_image(world.container, world.image_id)
        return open_writer(base=await world.store.resolve(info), is_edit=True)

    return start


def segments_of(image_id, count):
    return [f"{image_id}-{number:05d}" for number in range(1, count + 1)]


# ── a new image ────────────────────────────────────────────────────────────────────────


async def test_a_large_image_is_a_dlo(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    committed = await writer.commit()

    assert world.stored() == BODY
    assert world.names() == [world.image_id, *segments_of(world.image_id, 7)]
    info = await world.store.head_image(world.container, world.image_id)
    assert committed.image.info.dlo == info.dlo == (world.container, f"{world.image_id}-")
    assert (committed.image.info.manifest, info.size) == (Manifest.DLO, len(BODY))
    assert committed.image.info.etag == info.etag
    assert committed.replaced == []
    await writer.close()
    assert world.stored() == BODY


async def test_nothing_is_sent_that_the_driver_does_not_send(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    await writer.commit()

    claim, *puts = world.requests("PUT")
    assert (claim.path.rpartition("/")[2], claim.bytes_received) == (
        f"{world.image_id}-00001",
        0,
    )
    assert len(puts) == 8
    for put in puts:
        assert "content-type" not in put.headers
        assert not [name for name in put.headers if name.startswith("x-object-meta-")]
    sizes = sorted(put.bytes_received for put in puts if "etag" in put.headers)
    assert sizes == [len(BODY) % SEGMENT] + [SEGMENT] * 6
    assert "x-object-manifest" in puts[-1].headers


@pytest.mark.parametrize("size", [1, SEGMENT, 2 * SEGMENT - 1])
async def test_an_image_below_the_threshold_is_one_object(open_writer, world, size):
    writer = open_writer()
    await write_all(writer, BODY[:size])
    await writer.commit()

    assert world.stored() == BODY[:size]
    assert world.names() == [world.image_id]


async def test_an_empty_image_is_a_manifest_of_nothing(open_writer, world):
    await open_writer().commit()

    assert world.stored() == b""
    assert world.names() == [world.image_id]
    assert (await world.store.head_image(world.container, world.image_id)).dlo == (
        world.container,
        f"{world.image_id}-",
    )


async def test_an_empty_file_is_no_image_of_glance(open_writer, world):
    await open_writer(name="notes").commit()

    info = await world.store.head_image(world.container, "notes")
    assert (world.stored("notes"), info.manifest) == (b"", None)


async def test_an_image_that_does_not_fit_here_is_stored_as_one_of_unknown_size(
    open_writer, world
):
    options = replace(OPTIONS, large_object_size=10**9)
    writer = open_writer(options=options)
    await write_all(writer, BODY * 4)
    await writer.commit()

    assert world.stored() == BODY * 4
    assert world.names() == [
        world.image_id,
        *segments_of(world.image_id, -(-len(BODY * 4) // SEGMENT)),
    ]


async def test_holes_are_stored_as_zeros(open_writer, world):
    writer = open_writer()
    await writer.truncate(3 * SEGMENT + 5)
    await writer.write(5 * SEGMENT, b"x")
    await writer.truncate(6 * SEGMENT + 1)
    await writer.commit()

    data = bytearray(6 * SEGMENT + 1)
    data[5 * SEGMENT] = ord("x")
    assert world.stored() == data
    assert world.names() == [world.image_id, *segments_of(world.image_id, 7)]


async def test_what_was_cut_off_is_gone_before_the_manifest_is_there(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    await trio.testing.wait_all_tasks_blocked(0.2)
    await writer.truncate(2 * SEGMENT + 1)
    await writer.commit()

    assert world.stored() == BODY[: 2 * SEGMENT + 1]
    assert world.names() == [world.image_id, *segments_of(world.image_id, 3)]


async def test_an_image_that_is_given_up_leaves_nothing(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    await writer.close()

    assert world.names() == []


# ── names that are taken ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("leftover", ["00001", "00009", "notes"])
async def test_leftovers_do_not_become_part_of_the_image(open_writer, world, leftover):
    world.put(f"{world.image_id}-{leftover}", b"of somebody else")

    writer = open_writer()
    await write_all(writer, BODY)
    await writer.commit()

    assert world.stored() == BODY
    assert len(world.names()) == 9
    assert (
        world.client.get_object(world.container, f"{world.image_id}-{leftover}")[1]
        == b"of somebody else"
    )


async def test_a_name_that_is_no_image_id_has_a_prefix_that_is_nobody_elses_name(
    open_writer, world
):
    writer = open_writer(name="ubuntu")
    await write_all(writer, BODY)
    await writer.commit()

    world.put("ubuntu-22.04.img", b"another image")

    assert world.stored("ubuntu") == BODY


async def test_of_two_that_make_one_image_one_is_told_and_none_is_mixed(open_writer, world):
    one, other = open_writer(), open_writer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_all, one, BODY)
        nursery.start_soon(write_all, other, BODY[::-1])
    await other.commit()
    with pytest.raises(errors.ImageChangedError):
        await one.commit()
    await one.close()
    await other.close()

    assert world.stored() == BODY[::-1]
    assert len(world.names()) == 8


async def test_a_claim_that_was_made_by_another_in_between_is_respected(open_writer, world):
    """The listing did not show it yet."""
    world.put(f"{world.image_id}-00001", b"of somebody else")
    world.swift.control.inject(
        Fault(method="GET", target=f"prefix={world.image_id}-", status=200, body="[]")
    )

    writer = open_writer()
    await write_all(writer, BODY)
    await writer.commit()

    assert world.stored() == BODY
    assert (
        world.client.get_object(world.container, f"{world.image_id}-00001")[1]
        == b"of somebody else"
    )


# ── changes ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def image(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    committed = await writer.commit()
    await writer.close()
    world.swift.control.clear()
    return committed.image


async def test_an_edit_sends_one_segment_and_has_the_others_copied(image, world, edit):
    writer = await edit()
    await writer.write(2 * SEGMENT + 7, b"changed")
    assert world.stored() == BODY
    committed = await writer.commit()

    changed = BODY[: 2 * SEGMENT + 7] + b"changed" + BODY[2 * SEGMENT + 14 :]
    assert world.stored() == changed
    assert [r.bytes_received for r in world.requests("PUT")] == [SEGMENT, 0]
    assert len(world.requests("COPY")) == 6
    assert committed.image.info.manifest is Manifest.DLO
    assert sorted(committed.replaced) == sorted(image.parts)
    await world.delete_replaced(committed)
    assert world.stored() == changed
    assert len(world.names()) == 8
    assert not [name for name in world.names() if name.startswith(f"{world.image_id}-")]


async def test_who_reads_the_version_before_reads_on(image, world, edit, fetcher):
    writer = await edit()
    await writer.write(0, b"X" * len(BODY))
    await writer.commit()

    before = await ImageReader(fetcher).read(image.layout, 0, image.layout.size)

    assert bytes(before) == BODY
    assert world.stored() == b"X" * len(BODY)


async def test_each_commit_has_segments_of_its_own(open_writer, world):
    writer = open_writer()
    data = b""
    for number in range(4):
        await writer.write(len(data), bytes([number]) * 5000)
        data += bytes([number]) * 5000
        committed = await writer.commit()
        assert world.stored() == data
        await world.delete_replaced(committed)
        assert world.stored() == data
    assert len(world.names()) == 1 + 5
    await writer.close()
    assert world.stored() == data


@pytest.mark.parametrize("size", [0, 1, 2 * SEGMENT, 2 * SEGMENT + 1, 9 * SEGMENT])
async def test_an_image_is_cut_and_made_longer(image, world, edit, size):
    writer = await edit()
    await writer.truncate(size)
    committed = await writer.commit()
    await world.delete_replaced(committed)

    assert world.stored() == BODY[:size].ljust(size, b"\0")
    assert len(world.names()) == 1 + -(-size // SEGMENT)


async def test_new_headers_alone_copy_nothing(image, world, edit):
    writer = await edit()
    writer.change_headers({"x-object-meta-mode": "0600"})
    committed = await writer.commit()

    assert committed.replaced == []
    assert world.requests("COPY") == []
    assert len(world.requests("PUT")) == 1
    assert (await world.store.head_image(world.container, world.image_id)).metadata[
        "mode"
    ] == "0600"
    assert world.stored() == BODY


async def test_segments_of_other_sizes_are_laid_out_anew(world, edit):
    """Some begin in the middle of ours, and two in one of ours."""
    sizes = [1000, 1000, 7000, 500, 9000]
    data = b""
    for number, size in enumerate(sizes):
        piece = bytes([65 + number]) * size
        world.put(f"{world.image_id}-{number + 1:05d}", piece)
        data += piece
    header = f"{world.container}/{world.image_id}-"
    world.put(world.image_id, x_object_manifest=header)

    writer = await edit()
    await writer.write(5000, b"changed")
    await writer.write(18_000, b"changed")
    committed = await writer.commit()
    await world.delete_replaced(committed)

    changed = bytearray(data)
    changed[5000:5007] = changed[18_000:18_007] = b"changed"
    assert world.stored() == changed
    assert len(world.names()) == 1 + len(committed.image.parts)


async def test_of_a_plain_image_only_the_change_is_sent(world, edit):
    world.put(world.image_id, BODY)
    world.swift.control.clear()

    writer = await edit()
    await writer.write(3 * SEGMENT, b"changed")
    committed = await writer.commit()

    changed = bytearray(BODY)
    changed[3 * SEGMENT : 3 * SEGMENT + 7] = b"changed"
    assert world.stored() == changed
    assert sum(r.bytes_received for r in world.requests("PUT")) == SEGMENT
    assert committed.image.info.manifest is Manifest.DLO
    assert len(world.names()) == 1 + 3


async def test_a_small_plain_image_stays_one(world, edit):
    world.put(world.image_id, BODY[:3000])

    writer = await edit()
    await writer.write(1000, b"changed")
    await writer.commit()

    assert world.stored() == BODY[:1000] + b"changed" + BODY[1007:3000]
    assert world.names() == [world.image_id]


# ── what goes wrong ────────────────────────────────────────────────────────────────────


async def test_a_listing_that_lags_is_waited_for(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    await trio.testing.wait_all_tasks_blocked(0.2)
    lagging = Fault(
        method="GET", target=f"prefix={world.image_id}-", skip=0, count=2, status=200, body="[]"
    )
    world.swift.control.inject(lagging)
    await writer.commit()

    assert world.stored() == BODY


async def test_a_listing_that_stays_wrong_is_an_error_and_the_bytes_are_kept(
    open_writer, world, monkeypatch
):
    monkeypatch.setattr(glance_format, "LISTING_SECONDS", 0.5)
    writer = open_writer()
    await write_all(writer, BODY)
    await trio.testing.wait_all_tasks_blocked(0.2)
    world.put(f"{world.image_id}-00003x", b"of somebody else")

    with pytest.raises(errors.StoreUnavailableError, match="the listing shows other segments"):
        await writer.commit()
    assert world.image_id not in world.names()
    world.client.delete_object(world.container, f"{world.image_id}-00003x")
    await writer.commit()

    assert world.stored() == BODY


@pytest.mark.parametrize("is_tried_again", [True, False])
async def test_a_claim_whose_answers_are_all_lost_does_not_stay(
    open_writer, world, is_tried_again, monkeypatch
):
    monkeypatch.setattr(request, "FIRST_BACKOFF", 0.01)
    claim = f"{world.image_id}-00001"
    lost = Fault(method="PUT", target=f"{claim}$", lose_answer=True, count=None)
    world.swift.control.inject(lost)
    writer = open_writer()
    await writer.write(0, BODY[: 2 * SEGMENT])
    with pytest.raises(errors.SwiftImgFsError):
        await writer.commit()
    world.swift.control.clear()
    assert world.names() == [claim]

    if is_tried_again:
        await writer.commit()
    await writer.close()

    segments = [world.image_id, *segments_of(world.image_id, 2)]
    assert world.names() == (segments if is_tried_again else [])


EFFECTS = {
    "answer lost": {"lose_answer": True},
    "503": {"status": 503},
}


@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)
@pytest.mark.parametrize("kind", ["new", "edit"])
async def test_one_failure_at_any_request_harms_nothing(
    kind, effect, world, open_writer, monkeypatch
):
    """Each request of the commit in turn; the pool tries again, and nothing is left over."""
    monkeypatch.setattr(request, "FIRST_BACKOFF", 0.01)
    data = BODY[: 2 * SEGMENT + 5]

    async def attempt(number):
        name = str(uuid.uuid4())
        base = None
        if kind == "edit":
            first = open_writer(name=name)
            await write_all(first, data)
            base = (await first.commit()).image
            await first.close()
        world.swift.control.clear()
        if number is not None:
            world.swift.control.inject(
                Fault(target=f"/{world.container}", skip=number, **effect)
            )
        writer = open_writer(name=name, base=base, is_edit=base is not None)
        if base is None:
            await write_all(writer, data, step=len(data))
        else:
            await writer.write(SEGMENT, b"changed")
        committed = await writer.commit()
        await world.delete_replaced(committed)
        await writer.close()
        requests = [r for r in world.swift.control.journal() if f"/{world.container}" in r.path]
        harmed = [r for r in requests if r.harmed]
        world.swift.control.clear()
        changed = data[:SEGMENT] + b"changed" + data[SEGMENT + 7 :]
        assert world.stored(name) == (data if base is None else changed), harmed
        left = sorted({n for _, n in committed.image.parts} | {name})
        assert world.names() == left, harmed
        for name in left:
            world.client.delete_object(world.container, name)
        return len(requests)

    for number in range(await attempt(None)):
        await attempt(number)


async def test_glance_has_no_names_for_more_segments(open_writer):
    writer = open_writer()

    _, name = await writer._format.place(99_998 * SEGMENT, 0)
    assert name.endswith("-99999")
    with pytest.raises(errors.TooLargeError, match="chunk_size"):
        await writer._format.place(99_999 * SEGMENT, 0)
    await writer.close()
