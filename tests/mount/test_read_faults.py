"""Whatever goes wrong between us and Swift, a read is right, or an error, and in time."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import string
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

OPTIONS = "segment_size=64K,attr_timeout=0,list_timeout=0,timeout=4,retries=3"
PATIENCE = 2.0  # of a first try, with this timeout
SOON = 6.0  # seconds that a read may take which is taken up once or twice
LATE = 2 * SOON  # ... that fails: the kernel asks again for what it did not get ahead
SEGMENT = 50_000  # below a block, so that each is fetched by one GET
SEGMENTS = 2
KINDS = ("plain", "slo", "dlo")
PLACES = ("first byte", "mid-body", "last byte")
TELLS_THE_TRUTH = {errno.EIO, errno.ESTALE}


@pytest.fixture(scope="module")
def fragile(swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """A mount that gives up soon."""
    with mounted(tmp_path_factory.mktemp("fragile"), swift.swift.environ(), OPTIONS) as running:
        yield running


@dataclass(frozen=True)
class Image:
    """An image in Swift, and the object in it where something goes wrong.

    Attributes:
        target: Of the GETs that fetch this object.
        inside: The byte of it that the fault is about.
        content: What this object holds.
    """

    name: str
    data: bytes
    target: str
    inside: int
    content: bytes

    @property
    def content_range(self) -> str:
        return f"bytes 0-{len(self.content) - 1}/{len(self.content)}"


@pytest.fixture
def make_image(swift: FaultySwift, container: str) -> Iterator[Callable[[str, str], Image]]:
    """Make images of bytes that nothing has in its cache, one for each kind and place."""
    client = swift.connect()

    def make(kind: str, place: str) -> Image:
        name = f"{kind}-{place.replace(' ', '-')}"
        letters = random.SystemRandom().choices(string.ascii_letters, k=SEGMENT * SEGMENTS)
        data = "".join(letters).encode()[: -random.randrange(1, 1000)]
        if kind == "plain":
            client.put_object(container, name, data)
            parts, target = [data], f"/{container}/{name}$"
        else:
            parts = [data[n : n + SEGMENT] for n in range(0, len(data), SEGMENT)]
            put_segments(client, kind, container, name, parts)
            number = PLACES.index(place) // 2
            parts, target = parts[number:], f"/{container}/.s/{name}/{number}$"
        inside = (0, len(parts[0]) // 2, len(parts[0]) - 1)[PLACES.index(place)]
        return Image(name, data, target, inside, parts[0])

    yield make
    client.close()


def put_segments(client, kind: str, container: str, name: str, parts: list[bytes]) -> None:
    rows = []
    for number, part in enumerate(parts):
        client.put_object(container, f".s/{name}/{number}", part)
        rows.append({"path": f"/{container}/.s/{name}/{number}"})
    if kind == "slo":
        query = "multipart-manifest=put"
        client.put_object(container, name, json.dumps(rows), query_string=query)
    else:
        header = {"X-Object-Manifest": f"{container}/.s/{name}/"}
        client.put_object(container, name, b"", headers=header)


@dataclass(frozen=True)
class Outcome:
    """What a read came to: bytes or an errno, and how long it took."""

    data: bytes | None
    errno: int | None
    seconds: float


def read(path: Path) -> Outcome:
    begin = time.monotonic()
    data, number = None, None
    try:
        data = path.read_bytes()
    except OSError as exc:
        number = exc.errno
    return Outcome(data, number, time.monotonic() - begin)


def read_once(path: Path) -> Outcome:
    """Read the beginning, past the kernel's cache: it asks once, and tells at once."""
    begin = time.monotonic()
    data, number = None, None
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        data = os.pread(descriptor, 4096, 0)
    except OSError as exc:
        number = exc.errno
    finally:
        os.close(descriptor)
    return Outcome(data, number, time.monotonic() - begin)


@pytest.fixture
def read_all(swift: FaultySwift, fragile: Mounted, container: str, make_image):
    """Read images of all kinds at once, each of which something befalls at each place."""

    def go(
        faults: Callable[[Image], list[Fault]],
        places: tuple[str, ...] = PLACES,
        at_once: int = len(KINDS) * len(PLACES),
    ) -> list[tuple[Image, Outcome]]:
        images = [make_image(*both) for both in itertools.product(KINDS, places)]
        os.listdir(fragile.path / container)
        swift.control.clear()
        for image in images:
            for fault in faults(image):
                swift.control.inject(fault)
        with ThreadPoolExecutor(at_once) as pool:
            outcomes = list(pool.map(lambda i: read(fragile.path / container / i.name), images))
        harmed = {request.path for request in swift.control.journal() if request.harmed}
        assert len(harmed) == len(images)
        return list(zip(images, outcomes, strict=True))

    return go


def cut_before(image: Image, **effects) -> list[Fault]:
    """Return faults: a GET breaks at the place, and that which goes on has `effects`."""
    fault = Fault(method="GET", target=image.target, **effects)
    if image.inside == 0:
        return [fault]
    return [Fault(method="GET", target=image.target, cut_after=image.inside), fault]


def assert_right(outcomes: list[tuple[Image, Outcome]], within: float = SOON) -> None:
    for image, outcome in outcomes:
        assert outcome.errno is None, image.name
        assert outcome.data == image.data, image.name
        assert outcome.seconds < within, image.name


def assert_told(
    outcomes: list[tuple[Image, Outcome]], within: float = SOON, numbers=frozenset({errno.EIO})
) -> None:
    for image, outcome in outcomes:
        assert outcome.data is None, image.name
        assert outcome.errno in numbers, image.name
        assert outcome.seconds < within, image.name


# ── what passes ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [408, 429, 498, 499, 500, 503])
def test_an_error_that_passes_goes_unnoticed(read_all, status):
    assert_right(read_all(lambda image: cut_before(image, status=status)))


def test_a_store_that_asks_for_time_is_given_it(read_all):
    effects = {"status": 503, "headers": {"Retry-After": "2"}}

    outcomes = read_all(lambda image: cut_before(image, **effects))

    assert_right(outcomes)
    assert min(outcome.seconds for _, outcome in outcomes) > 2


def test_a_connection_that_is_dropped_is_made_again(read_all):
    outcomes = read_all(
        lambda image: [
            Fault(method="GET", target=image.target, cut_after=image.inside, count=2)
        ]
    )

    assert_right(outcomes)


def test_a_connection_that_is_dropped_before_the_answer_is_made_again(read_all):
    assert_right(read_all(lambda image: cut_before(image, lose_answer=True)))


def test_a_body_that_is_too_short_is_gone_on_with(read_all):
    def faults(image):
        return [
            Fault(
                method="GET",
                target=image.target,
                status=206,
                headers={"Content-Range": image.content_range},
                body=image.content[: image.inside].decode(),
            )
        ]

    assert_right(read_all(faults))


@pytest.mark.alone
def test_a_stall_is_cut_and_asked_for_again(read_all):
    def faults(image):
        stall = {"stall_after": image.inside} if image.inside else {"delay": 30}
        return [Fault(method="GET", target=image.target, stall_seconds=30, **stall)]

    assert_right(read_all(faults), within=PATIENCE + SOON)


def test_a_token_that_is_forgotten_is_renewed(read_all):
    # One at a time: a request has one renewal, which another's fault would make useless.
    outcomes = read_all(lambda image: cut_before(image, forget_tokens=True), at_once=1)

    assert_right(outcomes)


def test_a_byte_that_is_damaged_on_its_way_is_put_right(read_all):
    outcomes = read_all(
        lambda image: [Fault(method="GET", target=image.target, corrupt_at=image.inside)]
    )

    assert_right(outcomes)


# ── what stays ─────────────────────────────────────────────────────────────────────────


def test_a_failure_that_stays_is_told(read_all):
    def faults(image):
        failure = {"cut_after": 0} if image.inside else {"status": 503}
        return cut_before(image, count=None, **failure)

    assert_told(read_all(faults), within=LATE)


def test_a_byte_that_is_wrong_in_swift_is_told(read_all):
    def faults(image):
        place = {"corrupt_at": image.inside, "count": None}
        return [Fault(method="GET", target=image.target, **place)]

    assert_told(read_all(faults))


@pytest.mark.alone
def test_silence_that_stays_is_told_and_not_waited_for(swift, container, make_image, tmp_path):
    images = [
        make_image(*both) for both in itertools.product(KINDS, ("first byte", "mid-body"))
    ]
    for image in images:
        fault = Fault(method="GET", target=image.target, count=None, delay=60)
        if image.inside:
            fault = replace(fault, delay=0, stall_after=1)
        swift.control.inject(fault)

    options = OPTIONS.replace("retries=3", "retries=2")
    with (
        mounted(tmp_path, swift.swift.environ(), options) as running,
        ThreadPoolExecutor(len(images)) as pool,
    ):
        paths = [running.path / container / image.name for image in images]
        outcomes = list(pool.map(read_once, paths))

    tries = PATIENCE * (1 + 2)
    assert_told(list(zip(images, outcomes, strict=True)), within=tries + SOON)


@pytest.mark.parametrize(
    ("status", "content_range"),
    [(200, ""), (206, ""), (206, "bytes 1-{}/{}"), (206, "bytes 0-9/{}")],
    ids=["whole object", "no range", "shifted range", "shorter range"],
)
def test_another_range_than_was_asked_for_is_no_bytes_of_the_image(
    read_all, status, content_range
):
    def faults(image):
        answer = {"Content-Range": content_range.format(len(image.content), len(image.content))}
        effects = {"status": status, "headers": answer, "body": image.content.decode()}
        return [Fault(method="GET", target=image.target, count=None, **effects)]

    assert_told(read_all(faults, places=("first byte",)), numbers={errno.ESTALE})


@pytest.mark.parametrize(
    ("status", "number"),
    [(403, errno.EACCES), (404, errno.ESTALE), (412, errno.ESTALE), (416, errno.ESTALE)],
)
def test_what_another_try_does_not_cure_is_told_at_once(read_all, status, number):
    outcomes = read_all(
        lambda image: cut_before(image, status=status, count=None), places=("mid-body",)
    )

    truth = {number, *TELLS_THE_TRUTH}
    for image, outcome in outcomes:
        # Without its segments, a large image is read through its manifest.
        assert outcome.errno in truth or (status == 403 and outcome.data == image.data)
        assert outcome.seconds < SOON


def test_after_faults_the_mount_reads_on(swift, fragile, container, make_image):
    image = make_image("slo", "mid-body")
    path = fragile.path / container / image.name
    swift.control.inject(Fault(method="GET", target=image.target, status=503, count=None))
    failed = read(path)
    swift.control.clear()

    again = read(path)

    assert (failed.errno, again.data) == (errno.EIO, image.data)
    assert fragile.process.poll() is None


# ── an image that is replaced ──────────────────────────────────────────────────────────


SIZE = 1_500_000
STEP = 300_000


def put_version(client, kind: str, container: str, version: int) -> None:
    """Store an image of nothing but one letter, over the one before."""
    data = bytes([version]) * SIZE
    if kind == "plain":
        client.put_object(container, "image", data)
    else:
        parts = [data[start : start + STEP] for start in range(0, SIZE, STEP)]
        put_segments(client, kind, container, "image", parts)


def letters_of(path: Path) -> set[int]:
    """Read a whole image through one handle; return which bytes there are."""
    with path.open("rb", buffering=0) as file:
        pieces = [os.pread(file.fileno(), 100_000, n) for n in range(0, SIZE, 100_000)]
    assert sum(map(len, pieces)) == SIZE
    return set(b"".join(pieces))


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_replaced_while_it_is_read_is_never_a_mixture(
    swift: FaultySwift, fragile: Mounted, container: str, kind
) -> None:
    versions = b"abcdefgh"
    path = fragile.path / container / "image"
    is_over = threading.Event()
    seen: list[set[int]] = []
    told: set[int | None] = set()

    def read_on() -> None:
        while not is_over.is_set():
            try:
                seen.append(letters_of(path))
            except OSError as exc:
                told.add(exc.errno)

    client = swift.connect()
    put_version(client, kind, container, versions[0])
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_on) for _ in range(2)]
        for version in versions[1:]:
            put_version(client, kind, container, version)
        is_over.set()
        for reader in readers:
            reader.result(SOON)
    client.close()

    assert told <= {*TELLS_THE_TRUTH, errno.ENOENT}
    if kind != "dlo":  # its segments are replaced one by one, and it is what they are
        assert all(len(letters) == 1 for letters in seen)
    assert letters_of(path) == {versions[-1]}
