"""What HTTP statuses become: who changed an image, and what was merely refused."""

from __future__ import annotations

import pytest
import swiftclient

from swiftimgfs import errors
from swiftimgfs.store.failures import failure_of_status
from swiftimgfs.store.request import Request, heartbeat_answer

HEARTBEAT = b"""
{"Response Status": "400 Bad Request", "Response Body": "Bad Request\\nThe server ...",
 "Errors": [["/images_segments/x/00000000", "404 Not Found"]]}"""


def failure(status: int, body: object = b"") -> errors.SwiftImgFsError:
    exc = swiftclient.ClientException(
        "PUT", http_status=status, http_reason="Reason", http_response_content=body
    )
    return failure_of_status(exc, "PUT images/x")


@pytest.mark.parametrize("status", [412, 416])
def test_another_version_than_was_asked_for_says_that_somebody_changed_it(status):
    told = failure(status)

    assert isinstance(told, errors.ImageChangedError)
    assert str(told) == f"PUT images/x: changed by somebody else meanwhile: {status} Reason"
    assert told.status == status


@pytest.mark.parametrize("sign", ["404 Not Found", "Etag Mismatch", "Size Mismatch"])
def test_a_manifest_of_lost_segments_is_no_mere_refusal(sign):
    told = failure(400, f"Errors:\n/images_segments/x/00000000, {sign}\n".encode())

    assert isinstance(told, errors.ImageChangedError)
    assert "a segment that it names is gone, or another one now: 400 Reason" in str(told)


def test_nor_is_one_whose_status_came_after_heartbeats():
    request = Request("PUT", "images", "x", {"heartbeat": "on"})
    answer = heartbeat_answer(request, 202, HEARTBEAT)
    assert answer is not None

    assert isinstance(failure(400, answer[":body"]), errors.ImageChangedError)


def test_what_is_refused_for_itself_stays_a_refusal():
    told = failure(400, b"Manifest must be valid JSON.\n")

    assert isinstance(told, errors.StoreRefusedError)
    assert str(told) == "PUT images/x: 400 Reason"
