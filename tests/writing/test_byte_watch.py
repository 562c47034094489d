"""An image's digest is that of its bytes or there is none; a wrong signature stops it."""

from __future__ import annotations

import hashlib

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from swiftimgfs.errors import SignatureError, StoreUnavailableError
from swiftimgfs.writing import byte_watch
from swiftimgfs.writing.byte_watch import ImageWatches, WatchOptions
from tests.support.signing import new_signer

DATA = bytes(range(256)) * 64


class Image:
    """The image that is watched, read back as a mount does."""

    def __init__(self, data: bytes = b"", step: int = 5000) -> None:
        self.data = bytearray(data)
        self.step = step
        self.reads = 0

    async def read(self, offset: int, size: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        return bytes(self.data[offset : offset + min(size, self.step)])

    def write(self, watch, offset, data):
        self.data += bytes(max(0, offset - len(self.data)))
        self.data[offset : offset + len(data)] = data
        watch.written(offset, data)

    def truncate(self, watch, size):
        del self.data[size:]
        self.data += bytes(size - len(self.data))
        watch.truncated(size)

    async def finish(self, watch, metadata=None):
        return await watch.finish(len(self.data), metadata or {}, self.read)

    def digest(self, algorithm="sha256"):
        value = hashlib.new(algorithm, self.data).hexdigest()
        return {"os-hash-algo": algorithm, "os-hash-value": value}


async def compute(blocking):
    await trio.lowlevel.checkpoint()
    blocking()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def signer(certificates):
    return new_signer(certificates)


@pytest.fixture
def watches(nursery, certificates):
    def of(algorithm="sha256"):
        return ImageWatches(WatchOptions(algorithm, certificates), compute, nursery)

    return of


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5", "blake2b"])
async def test_what_was_written_in_order_has_its_digest(watches, algorithm):
    image, watch = Image(), watches(algorithm).of(0, {})
    for offset in range(0, len(DATA), 1000):
        image.write(watch, offset, DATA[offset : offset + 1000])

    assert await image.finish(watch) == image.digest(algorithm)
    assert image.data == DATA


async def test_an_empty_image_has_the_digest_of_nothing(watches):
    assert await Image().finish(watches().of(0, {})) == Image().digest()


async def test_a_hole_is_hashed_as_the_zeros_that_it_is(watches):
    image, watch = Image(), watches().of(0, {})

    image.write(watch, 10, b"x")
    image.truncate(watch, 5000)
    image.write(watch, 6000, b"y")
    image.truncate(watch, 3_000_000)

    assert await image.finish(watch) == image.digest()


async def test_a_large_hole_has_no_digest(watches, monkeypatch):
    monkeypatch.setattr(byte_watch, "LARGEST_HOLE", 100)
    for first, last in ((0, 200), (101, 0)):
        image, watch = Image(), watches().of(0, {})
        image.write(watch, first, b"x")
        image.truncate(watch, len(image.data) + last)

        assert await image.finish(watch) == {}


@pytest.mark.parametrize("offset", [0, 5, 9])
async def test_what_was_written_twice_has_no_digest(watches, offset):
    image, watch = Image(), watches().of(0, {})
    image.write(watch, 0, b"0123456789")

    image.write(watch, offset, b"x")
    image.write(watch, 10, b"y")

    assert await image.finish(watch) == {}


async def test_an_image_that_was_shortened_has_no_digest(watches):
    image, watch = Image(), watches().of(0, {})
    image.write(watch, 0, b"0123456789")
    image.truncate(watch, 9)

    assert await image.finish(watch) == {}


async def test_an_image_that_was_emptied_begins_anew(watches):
    image, watch = Image(b"older"), watches().of(5, {})
    image.write(watch, 5, b"x")
    assert await image.finish(watch) == {}

    image.truncate(watch, 0)
    image.write(watch, 0, b"new")

    assert await image.finish(watch) == image.digest()


async def test_a_commit_in_between_changes_nothing(watches):
    image, watch = Image(), watches().of(0, {})
    for offset in range(0, 1000, 100):
        image.write(watch, offset, DATA[:100])
        assert await image.finish(watch) == image.digest()
        assert await image.finish(watch) == image.digest()


async def test_no_digest_is_asked_for(watches):
    image, watch = Image(), watches(None).of(0, {})
    image.write(watch, 0, DATA)
    image.truncate(watch, 0)
    image.write(watch, 0, DATA)

    assert await image.finish(watch) == {}
    assert watch._digest.backlog == 0


async def test_nothing_is_kept_after_the_end(watches):
    image, watch = Image(), watches().of(0, {})
    image.write(watch, 0, DATA)
    watch.close()

    assert watch._digest.backlog == 0


OPERATIONS = st.lists(
    st.tuples(st.sampled_from("wwwtf"), st.integers(0, 60), st.binary(max_size=20)), max_size=12
)


@given(OPERATIONS, st.integers(0, 3), st.booleans())
def test_a_digest_is_never_a_wrong_one(operations, size, is_appending):
    async def run():
        async with trio.open_nursery() as nursery:
            watches = ImageWatches(WatchOptions("sha256"), compute, nursery)
            image, watch = Image(b"x" * size), watches.of(size, {})
            for kind, offset, data in operations:
                if kind == "w":
                    image.write(watch, len(image.data) if is_appending else offset, data)
                elif kind == "t":
                    image.truncate(watch, offset)
                else:
                    assert await image.finish(watch) in ({}, image.digest())
            assert await image.finish(watch) in ({}, image.digest())
            only_appended = all(kind != "t" for kind, _, _ in operations) and is_appending
            if not size and only_appended:
                assert await image.finish(watch) == image.digest()

    trio.run(run)


# ── signatures ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", None])
async def test_a_right_signature_lets_the_image_through(watches, signer, algorithm):
    image, watch = Image(), watches(algorithm).of(0, {})
    image.write(watch, 0, DATA)

    told = await image.finish(watch, signer.sign(DATA, "SHA-256"))

    assert told == (image.digest(algorithm) if algorithm else {})


async def test_a_wrong_signature_does_not(watches, signer):
    image, watch = Image(), watches().of(0, {})
    image.write(watch, 0, DATA)

    with pytest.raises(SignatureError, match="not that of these bytes"):
        await image.finish(watch, signer.sign(b"other"))
    assert await image.finish(watch, signer.sign(DATA)) == image.digest()


@pytest.mark.parametrize("step", [1000, 10**6])
async def test_an_image_out_of_order_is_read_back_for_its_signature(watches, signer, step):
    image, watch = Image(step=step), watches().of(0, {})
    image.write(watch, 5000, DATA[5000:])
    image.write(watch, 0, DATA[:5000])

    assert await image.finish(watch, signer.sign(DATA)) == {}
    with pytest.raises(SignatureError):
        await image.finish(watch, signer.sign(DATA + b"x"))

    assert image.reads == 2 * -(-len(DATA) // step)


async def test_a_signature_that_is_foreseen_costs_no_reading(watches, signer):
    properties = signer.sign(DATA, "SHA-384")
    image, watch = Image(), watches("sha256").of(0, properties)
    image.write(watch, 0, DATA)

    assert await image.finish(watch, properties) == image.digest()
    assert image.reads == 0
    assert await image.finish(watch, signer.sign(DATA, "SHA-224")) == image.digest()
    assert image.reads > 0


async def test_an_image_that_ends_too_early_is_no_image(watches, signer):
    watch = watches().of(10, {})

    with pytest.raises(StoreUnavailableError, match="ends at 3 of 10"):
        await watch.finish(10, signer.sign(DATA), Image(b"abc").read)


async def test_an_unknown_hash_method_is_told_at_the_end(watches, signer):
    properties = signer.sign(DATA) | {"img-signature-hash-method": "MD5"}
    image, watch = Image(), watches().of(0, properties)
    image.write(watch, 0, DATA)

    with pytest.raises(SignatureError, match="unknown hash method"):
        await image.finish(watch, properties)


async def test_without_certificates_a_signed_image_is_refused(nursery, signer):
    image, watch = Image(), ImageWatches(WatchOptions("sha256"), compute, nursery).of(0, {})
    image.write(watch, 0, DATA)

    with pytest.raises(SignatureError, match="signature_certificates"):
        await image.finish(watch, signer.sign(DATA))
