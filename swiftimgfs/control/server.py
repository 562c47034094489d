"""The control socket of a mount: answers who may ask with a report, and nobody else.

Nothing that is said to it harms the mount: a request is short, a conversation has a deadline,
only so many are held at once, and whatever breaks ends that conversation alone.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.control.protocol import (
    LONGEST_REQUEST,
    format_answer,
    format_error,
    problem_of,
)
from swiftimgfs.control.sockets import listen_at_first, may_ask, peer_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from swiftimgfs.control.report import Report

log = logging.getLogger(__name__)

CONVERSATION_SECONDS: Final = 5.0
MOST_CONVERSATIONS: Final = 16


async def serve_control(
    paths: Sequence[Path],
    report: Callable[[], Report],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer who asks at the first of `paths` where that can be, until cancelled.

    A mount without a socket goes on, and says so. It has started when the socket is there, or
    cannot be.
    """
    try:
        listener, path = listen_at_first(paths)
    except (OSError, errors.ConfigError) as failure:
        log.warning("no control socket path=%s reason=%s", paths[-1], failure)
        task_status.started()
        return
    task_status.started()
    try:
        async with trio.open_nursery() as nursery:
            server = _Server(report)
            trio_listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            await trio.serve_listeners(
                server.converse, [trio_listener], handler_nursery=nursery
            )
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


class _Server:
    """Holds conversations, one for each connection."""

    def __init__(self, report: Callable[[], Report]) -> None:
        self._report = report
        self._free = MOST_CONVERSATIONS

    async def converse(self, stream: trio.SocketStream) -> None:
        """Answer one request and hang up. Raises nothing but cancellation."""
        async with stream:
            if not self._free:
                return
            self._free -= 1
            try:
                with trio.move_on_after(CONVERSATION_SECONDS):
                    await self._answer(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as failure:
                log.debug("control connection broke reason=%r", failure)
            except Exception:  # a mount does not end because somebody looks at it
                log.exception("a control request failed unexpectedly")
            finally:
                self._free += 1

    async def _answer(self, stream: trio.SocketStream) -> None:
        pid, uid = peer_of(_stdlib(stream))
        if not may_ask(uid):
            log.warning("control request refused uid=%d pid=%d", uid, pid)
            return
        request = await _line_of(stream)
        problem = problem_of(request)
        await stream.send_all(
            format_error(problem) if problem else format_answer(self._report())
        )


def _stdlib(stream: trio.SocketStream) -> socket.socket:
    return stream.socket  # type: ignore[return-value]  # getsockopt is the same


async def _line_of(stream: trio.SocketStream) -> bytes:
    """Return what comes before the first line's end, or as much as a request may be."""
    received = b""
    while b"\n" not in received and len(received) < LONGEST_REQUEST:
        some = await stream.receive_some(LONGEST_REQUEST - len(received))
        if not some:
            break
        received += some
    return received.partition(b"\n")[0]
