"""Listings that lag, answers that are lost, and one failure at any request."""

from __future__ import annotations

import uuid

import pytest
import trio
import trio.testing

from swiftimgfs import errors
from swiftimgfs.store import request
from swiftimgfs.writing import glance_format
from tests.support.fault_control import Fault
from tests.support.glance_writers import BODY, SEGMENT, segments_of
from tests.support.writers import write_all


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
