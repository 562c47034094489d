"""Names of segments that are taken: a DLO is never mixed."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from swiftimgfs import errors
from tests.support.fault_control import Fault
from tests.support.glance_writers import BODY
from tests.support.writers import write_all


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
