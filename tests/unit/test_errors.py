"""Failures: their errnos, and the first one out of a nursery."""

from __future__ import annotations

import errno
import inspect
from pathlib import Path

import pytest
import trio

from swiftimgfs import errors

FAILURES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, errors.SwiftImgFsError)
]


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_has_an_errno_that_the_system_knows(failure):
    assert errors.errno_of(failure("text")) in errno.errorcode


def test_what_nobody_expected_is_an_input_output_error():
    assert errors.errno_of(ValueError("bug")) == errno.EIO


def test_a_failure_remembers_how_long_the_server_asked_to_wait():
    assert errors.StoreUnavailableError("busy", retry_after=3.0).retry_after == 3.0


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("c/x: exists", "exists"),
        ("PUT c/x: 503 Busy", "PUT: 503 Busy"),
        ("PUT c/x/1: 503 Busy", "PUT c/x/1: 503 Busy"),
        ("PUT other/c/x: 503 Busy", "PUT other/c/x: 503 Busy"),
        ("what was kept of c/x: no room", "what was kept of c/x: no room"),
        ("GET account: 503 Busy", "GET account: 503 Busy"),
        ("timed out", "timed out"),
    ],
)
def test_a_reason_beside_an_image_does_not_name_it_again(reason, left):
    assert errors.reason_beside("c/x", errors.SwiftImgFsError(reason)) == left


def test_a_reason_beside_an_unknown_image_stays_as_it_is():
    assert errors.reason_beside("", "PUT c/x: 503 Busy") == "PUT c/x: 503 Busy"


def test_without_a_failure_nothing_is_raised():
    with errors.first_failure():
        result = 1

    assert result == 1


def test_a_single_failure_passes_unchanged():
    failure = errors.NotFoundError("gone")

    with pytest.raises(errors.NotFoundError) as caught, errors.first_failure():
        raise failure

    assert caught.value is failure


def test_the_first_failure_of_a_group_is_raised():
    failures = [errors.NotFoundError("one"), errors.ExistsError("two")]

    with pytest.raises(errors.NotFoundError, match="one"), errors.first_failure():
        raise ExceptionGroup("tasks", failures)


def test_the_first_failure_of_groups_in_groups_is_raised():
    inner = ExceptionGroup("inner", [errors.ExistsError("deep")])

    with pytest.raises(errors.ExistsError, match="deep"), errors.first_failure():
        raise ExceptionGroup("outer", [ExceptionGroup("middle", [inner])])


def test_a_group_with_a_bug_in_it_passes_unchanged():
    group = ExceptionGroup("tasks", [errors.NotFoundError("one"), ValueError("bug")])

    with pytest.raises(ExceptionGroup) as caught, errors.first_failure():
        raise group

    assert caught.value is group


async def run_side_by_side(*tasks):
    with errors.first_failure():
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(task)


async def test_the_failure_of_a_task_comes_out_of_its_nursery():
    async def fail():
        raise errors.ImageChangedError("changed")

    with pytest.raises(errors.ImageChangedError):
        await run_side_by_side(trio.sleep_forever, fail)


@pytest.mark.parametrize("failure", FAILURES)
def test_every_errno_is_explained(failure):
    page = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
    name = errors.errno_name(errors.errno_of(failure("text")))

    assert f"`{name}`" in page.read_text(encoding="utf-8")
