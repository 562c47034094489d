"""A control socket that is served by a thread of this process."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

import trio

from swiftimgfs.control.server import serve_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from swiftimgfs.control.report import Report


T = TypeVar("T")


@contextlib.contextmanager
def control_served(path: Path, report: Callable[[], Report]) -> Iterator[None]:
    """Serve at `path` while the context lasts."""
    scopes: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []
    is_ready = threading.Event()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_control, [path], report)
            await trio.testing.wait_all_tasks_blocked()
            scopes.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            is_ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert is_ready.wait(10)
    try:
        yield
    finally:
        token, scope = scopes[0]
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(scope.cancel)
        thread.join(10)
        assert not thread.is_alive()


async def in_thread(blocking: Callable[[], T]) -> T:
    """Return what `blocking` returns, in a thread."""
    return await trio.to_thread.run_sync(blocking)  # noqa: TID251  # no pool here
