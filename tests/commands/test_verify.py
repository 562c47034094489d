"""`swiftimgfs verify`: what is right, what is wrong, and what nobody can tell."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs import cli
from swiftimgfs.verification import facts, verifier
from swiftimgfs.verification.plan import Check, Digest, Facts, Segment, plan_of
from tests.support.commands import PROGRAM, at_a_terminal
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import swiftclient

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

COMMAND = [*PROGRAM, "verify"]
SEGMENT = 500_000
WHOLE = random.Random(4).randbytes(4 * SEGMENT + 7)
PARTS = [WHOLE[start : start + SEGMENT] for start in range(0, len(WHOLE), SEGMENT)]


@pytest.fixture
def directory(swift: FaultySwift, container: str, tmp_path: Path) -> Iterator[Path]:
    """Return a container in a mount of its own: what one test read is in no other's cache.

    It does not verify by itself: what it gave would be an error, and not wrong.
    """
    options = "segment_size=64K,large_object_size=256K,attr_timeout=0,list_timeout=0,timeout=10"
    (tmp_path / "own").mkdir()
    with mounted(tmp_path / "own", swift.swift.environ(), f"{options},verify=off") as running:
        yield running.path / container


Told = tuple[int, str, str]
Runner = Callable[..., Told]
Verify = Callable[..., list[str]]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Runner:
    """Return what runs the verb, and returns exit status, output and complaints."""

    def run(*arguments: object) -> Told:
        try:
            status = cli.main(["verify", *map(str, arguments)])
        except SystemExit as exc:
            status = int(str(exc.code))
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def verify(command: Runner) -> Verify:
    """Return what verifies, and returns the lines about images, without the summary."""

    def run(*arguments: object, status: int = 0) -> list[str]:
        got, told, complaint = command(*arguments)
        assert (got, complaint) == (status, ""), told
        *lines, summary = told.splitlines()
        assert summary.startswith(f"{len(lines)} image")
        return lines

    return run


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def put_segments(client: swiftclient.Connection, container: str) -> list[str]:
    names = [f"parts/{number}" for number in range(len(PARTS))]
    for name, part in zip(names, PARTS, strict=True):
        client.put_object(container, name, part)
    return names


def put_slo(
    client: swiftclient.Connection,
    container: str,
    rows: list[dict[str, str]],
    name: str = "image",
    **headers: str,
) -> None:
    client.put_object(
        container,
        name,
        json.dumps(rows).encode(),
        query_string="multipart-manifest=put",
        headers={key.replace("_", "-"): value for key, value in headers.items()},
    )


def put_image(
    client: swiftclient.Connection, container: str, kind: str, **headers: str
) -> None:
    """Store `WHOLE` as the image `image`, in one of three ways."""
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    if kind == "plain":
        client.put_object(container, "image", WHOLE, headers=headers)
        return
    names = put_segments(client, container)
    if kind == "slo":
        put_slo(client, container, [{"path": f"/{container}/{n}"} for n in names], **headers)
    else:
        headers["X-Object-Manifest"] = f"{container}/parts/"
        client.put_object(container, "image", b"", headers=headers)


def stored_digest(data: bytes, algorithm: str = "sha256") -> dict[str, str]:
    return {
        "X_Object_Meta_Os_Hash_Algo": algorithm,
        "X_Object_Meta_Os_Hash_Value": hashlib.new(algorithm, data).hexdigest(),
    }


KINDS = {"plain": "etag", "slo": "5 segments", "dlo": "5 segments"}
kinds = pytest.mark.parametrize(("kind", "what"), KINDS.items(), ids=KINDS.keys())


# ── what is right ──────────────────────────────────────────────────────────────────────


@kinds
def test_an_image_as_it_was_stored_is_ok(
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    kind: str,
    what: str,
    verify: Verify,
) -> None:
    put_image(client, container, kind)

    assert verify(directory / "image") == [f"OK      {directory}/image: {what}"]


def test_what_this_mount_wrote_is_ok(directory: Path, verify: Verify) -> None:
    (directory / "small").write_bytes(b"small")
    (directory / "large").write_bytes(WHOLE)
    (directory / "empty").write_bytes(b"")

    assert verify(directory) == [
        f"OK      {directory}/empty: etag and os_hash_value",
        f"OK      {directory}/large: os_hash_value and {-(-len(WHOLE) // 65_536)} segments",
        f"OK      {directory}/small: etag and os_hash_value",
    ]


def test_each_byte_is_read_once_however_many_digests_there_are(
    swift: FaultySwift,
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    verify: Verify,
) -> None:
    put_image(client, container, "slo", **stored_digest(WHOLE))
    os.stat(directory / "image")
    swift.control.clear()
    value = hashlib.sha512(WHOLE).hexdigest()

    lines = verify("--os-hash-value", value, directory / "image")

    assert lines == [
        f"OK      {directory}/image: os_hash_value, --os-hash-value and 5 segments"
    ]
    gets = [r for r in swift.control.journal() if r.method == "GET" and "/parts/" in r.path]
    assert sum(r.bytes_sent for r in gets) == len(WHOLE)


def test_several_paths_and_all_images_below_directories(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    for name in ("b", "a", "sub/deeper/x", "sub/y"):
        client.put_object(container, name, name.encode())

    lines = verify(directory / "b", directory / "sub", directory / "b")

    names = [line.removeprefix(f"OK      {directory}/") for line in lines]
    assert names == ["b: etag", "sub/deeper/x: etag", "sub/y: etag", "b: etag"]


def test_an_image_of_nothing_is_ok(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    header = {"X-Object-Manifest": f"{container}/nothing-"}
    client.put_object(container, "image", b"", headers=header)

    assert verify(directory / "image") == [f"OK      {directory}/image: empty"]


def test_the_pages_of_hundreds_of_segments_are_put_together(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    prefix = "segment/" + "ä" * 450
    for number in range(80):
        client.put_object(container, f"{prefix}{number:04}", b"%d" % number)
    header = {"X-Object-Manifest": quote(f"{container}/{prefix}")}
    client.put_object(container, "image", b"", headers=header)

    assert verify(directory / "image") == [f"OK      {directory}/image: 80 segments"]
    assert len(os.getxattr(directory / "image", "user.swift.segments.1")) > 1000
    with pytest.raises(OSError, match="too long"):
        os.getxattr(directory / "image", "user.swift.segments")


def test_an_image_with_holes_that_was_edited_is_right(directory: Path, verify: Verify) -> None:
    image = directory / "image"
    with image.open("wb") as file:
        file.write(WHOLE[:100_000])
        file.truncate(2_000_000)
    with image.open("r+b") as file:  # from now on nobody knows the digest of the whole image
        file.write(b"v2")

    assert verify(image) == [f"OK      {image}: 2 segments"]
    rows = json.loads(os.getxattr(image, "user.swift.segments"))
    assert [row.get("zeros", False) for row in rows] == [False, False, True]


# ── what is wrong ──────────────────────────────────────────────────────────────────────


def test_a_byte_that_differs_in_a_plain_image_is_found(
    swift: FaultySwift,
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    verify: Verify,
) -> None:
    put_image(client, container, "plain")
    swift.control.inject(Fault(method="GET", target="/image$", count=None, corrupt_at=77))

    [line] = verify(directory / "image", status=1)

    assert line.startswith(f"WRONG   {directory}/image: etag, {len(WHOLE)} bytes at 0: md5 is")
    assert line.endswith(f", not {md5(WHOLE)}")


def test_what_is_wrong_fails_in_a_mount_that_verifies_by_itself(
    swift: FaultySwift,
    client: swiftclient.Connection,
    container: str,
    mount: Mounted,
    verify: Verify,
) -> None:
    data = random.SystemRandom().randbytes(SEGMENT)
    client.put_object(container, "image", data)
    swift.control.inject(Fault(method="GET", target="/image$", count=None, corrupt_at=77))

    [line] = verify(mount.path / container / "image", status=1)

    assert line.startswith(f"FAILED  {mount.path / container / 'image'}: EIO: ")
    log = mount.log.read_text()
    assert f"{container}/image: its MD5 is " in log


@pytest.mark.parametrize("kind", ["slo", "dlo"])
@pytest.mark.parametrize("digest", [{}, stored_digest(WHOLE)], ids=["segments", "one pass"])
def test_the_segment_that_differs_is_named(
    swift: FaultySwift,
    client: swiftclient.Connection,
    directory: Path,
    kind: str,
    digest: dict[str, str],
    verify: Verify,
) -> None:
    container = directory.name
    put_image(client, container, kind, **digest)
    swift.control.inject(Fault(method="GET", target="/parts/2$", count=None, corrupt_at=0))

    [line] = verify(directory / "image", status=1)

    where = f"segment {container}/parts/2, 500000 bytes at 1000000"
    more = " (and 1 more)" if digest else ""
    # The fault is in each GET of the segment, and how many there are is the mount's affair.
    assert line.startswith(f"WRONG   {directory}/image: {where}: md5 is ")
    assert line.endswith(f", not {md5(PARTS[2])}{more}")


@kinds
def test_a_stored_digest_is_compared(
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    kind: str,
    what: str,
    verify: Verify,
) -> None:
    put_image(client, container, kind, **stored_digest(WHOLE))

    [line] = verify(directory / "image")

    assert os.getxattr(directory / "image", "user.swift.os_hash_algo") == b"sha256"
    both = "etag and os_hash_value" if kind == "plain" else f"os_hash_value and {what}"
    assert line == f"OK      {directory}/image: {both}"


@kinds
def test_a_stored_digest_of_other_bytes_is_wrong(
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    kind: str,
    what: str,
    verify: Verify,
) -> None:
    put_image(client, container, kind, **stored_digest(b"others"))
    right, other = hashlib.sha256(WHOLE).hexdigest(), hashlib.sha256(b"others").hexdigest()

    [line] = verify(directory / "image", status=1)

    where = f"os_hash_value, {len(WHOLE)} bytes at 0"
    assert line == f"WRONG   {directory}/image: {where}: sha256 is {right}, not {other}"


def test_the_md5_that_a_large_image_has_in_its_metadata_is_compared(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_image(client, container, "slo", X_Object_Meta_Md5=md5(WHOLE))

    assert verify(directory / "image") == [f"OK      {directory}/image: MD5 and 5 segments"]
    assert os.getxattr(directory / "image", "user.swift.md5").decode() == md5(WHOLE)


@pytest.mark.parametrize("algorithm", [None, "sha512", "SHA256", "md5"])
def test_the_value_that_glance_has_is_compared(
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    algorithm: str | None,
    verify: Verify,
) -> None:
    put_image(client, container, "dlo")
    options = ["--os-hash-algo", algorithm] if algorithm else []
    right = hashlib.new((algorithm or "sha512").lower(), WHOLE).hexdigest()
    wrong = hashlib.new((algorithm or "sha512").lower(), b"others").hexdigest()

    [ok] = verify("--os-hash-value", right.upper(), *options, directory / "image")
    [line] = verify("--os-hash-value", wrong, *options, directory / "image", status=1)

    assert ok == f"OK      {directory}/image: --os-hash-value and 5 segments"
    assert line.startswith(f"WRONG   {directory}/image: --os-hash-value, ")
    assert line.endswith(f" is {right}, not {wrong}")


# ── what nobody can tell ───────────────────────────────────────────────────────────────


def test_a_part_of_an_object_cannot_be_checked(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_segments(client, container)
    rows = [
        {"path": f"/{container}/parts/0"},
        {"path": f"/{container}/parts/1", "range": "100-999"},
    ]
    put_slo(client, container, rows)
    whole = hashlib.sha512(PARTS[0] + PARTS[1][100:1000]).hexdigest()

    [line] = verify(directory / "image", status=1)
    [with_digest] = verify("--os-hash-value", whole, directory / "image")

    why = "1 of 2 segments are parts of objects"
    assert line == f"CANNOT  {directory}/image: {why}; 1 segment compared, and right"
    assert with_digest.endswith(f": --os-hash-value and 1 segment; not compared: {why}")


def test_nested_and_symlinked_segments_are_compared_with_what_they_lead_to(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_segments(client, container)
    rows = [{"path": f"/{container}/parts/{n}"} for n in (0, 1)]
    put_slo(client, container, rows, "inner")
    for name, target in (("link", "parts/2"), ("link to inner", "inner")):
        header = {"X-Symlink-Target": f"{container}/{target}"}
        client.put_object(container, name, b"", headers=header)
    names = ("inner", "link", "link to inner", "parts/3")

    put_slo(client, container, [{"path": f"/{container}/{name}"} for name in names])

    assert verify(directory / "image") == [f"OK      {directory}/image: 6 segments"]


def test_a_dlo_in_an_slo_cannot_be_checked(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    """Its etag looks like an MD5, and is one of other etags."""
    put_segments(client, container)
    header = {"X-Object-Manifest": f"{container}/parts/"}
    client.put_object(container, "inner", b"", headers=header)
    put_slo(client, container, [{"path": f"/{container}/{n}"} for n in ("parts/0", "inner")])

    [line] = verify(directory / "image", status=1)

    why = "1 of the segments are manifests themselves; 1 segment compared, and right"
    assert line == f"CANNOT  {directory}/image: {why}"


def test_bytes_in_the_manifest_cannot_be_checked(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_segments(client, container)
    put_slo(client, container, [{"data": "aGFsbG8="}, {"path": f"/{container}/parts/0"}])

    [line] = verify(directory / "image", status=1)

    assert "CANNOT" in line
    assert "5 bytes are in the manifest itself; 1 segment compared, and right" in line


def test_a_digest_by_an_unknown_algorithm_is_told_and_not_called_wrong(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    headers = {"X_Object_Meta_Os_Hash_Algo": "rot13", "X_Object_Meta_Os_Hash_Value": "ab"}
    put_image(client, container, "plain", **headers)

    [line] = verify(directory / "image")

    assert line.endswith("etag; not compared: os_hash_value: unknown algorithm 'rot13'")


def test_an_etag_that_is_no_md5_cannot_be_checked() -> None:
    segment = Segment("c/s", 0, 10, "abc-2", 0, 10)
    known = Facts(10, "abc-2", is_large=True, segments=(segment,))

    plan = plan_of(known, Digest("sha1", "x", "stored"))

    assert plan.lanes == []
    assert plan.gaps == (
        "stored: not 40 hexadecimal digits, as sha1 has",
        "1 of 1 segments have an etag that is no MD5",
    )


# ── what cannot be read ────────────────────────────────────────────────────────────────


def test_a_missing_image_fails_and_the_others_are_verified(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    client.put_object(container, "image", b"x")

    lines = verify(directory / "missing", directory / "image", status=1)

    assert lines == [
        f"FAILED  {directory}/missing: ENOENT: No such file or directory",
        f"OK      {directory}/image: etag",
    ]


def test_an_image_that_swift_does_not_give_fails(
    swift: FaultySwift,
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    verify: Verify,
) -> None:
    put_image(client, container, "slo")
    swift.control.inject(Fault(method="GET", target="/parts/3$", count=None, status=404))

    [line] = verify(directory / "image", status=1)

    assert line.startswith(f"FAILED  {directory}/image: ESTALE: Stale file handle, reading at ")


def test_a_segment_overwritten_behind_an_slo_is_stale(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_image(client, container, "slo")
    client.put_object(container, "parts/1", bytes(SEGMENT))

    [line] = verify(directory / "image", status=1)

    assert line.startswith(f"FAILED  {directory}/image: ESTALE: Stale file handle, reading at ")


def test_a_segment_overwritten_below_a_dlo_is_part_of_it_from_then_on(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_image(client, container, "dlo")
    client.put_object(container, "parts/1", bytes(SEGMENT))
    before, after = hashlib.sha512(WHOLE), hashlib.sha512()
    for part in (PARTS[0], bytes(SEGMENT), *PARTS[2:]):
        after.update(part)

    assert verify(directory / "image") == [f"OK      {directory}/image: 5 segments"]
    verify("--os-hash-value", after.hexdigest(), directory / "image")
    [line] = verify("--os-hash-value", before.hexdigest(), directory / "image", status=1)
    assert line.startswith("WRONG")


def test_an_image_that_is_replaced_meanwhile_is_not_called_wrong(
    swift: FaultySwift, client: swiftclient.Connection, container: str, directory: Path
) -> None:
    put_image(client, container, "plain")
    swift.control.inject(Fault(method="GET", target="/image$", count=None, delay=2))
    with subprocess.Popen(
        [*COMMAND, directory / "image"], stdout=subprocess.PIPE, text=True
    ) as process:
        wait_for_request(swift, "/image")

        client.put_object(container, "image", b"another")

        told, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told.startswith(f"FAILED  {directory}/image: it was replaced while it was read")


def wait_for_request(swift: FaultySwift, end: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if any(r.method == "GET" and r.path.endswith(end) for r in swift.control.journal()):
            return
        time.sleep(0.05)  # noqa: TID251  # there is no event loop here
    raise AssertionError(f"nobody asked for {end}")


# ── what is told ───────────────────────────────────────────────────────────────────────


def test_names_are_printed_harmlessly(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    client.put_object(container, "red\x1b[31m\n[bold]image[/bold]", b"x")

    assert verify(directory) == [rf"OK      {directory}/red\x1b[31m\n[bold]image[/bold]: etag"]


def test_the_summary_counts_what_came_out(
    client: swiftclient.Connection, container: str, directory: Path, command: Runner
) -> None:
    client.put_object(container, "a", b"x" * 1000)
    client.put_object(container, "b", b"x" * 500, headers={"X-Object-Meta-Os-Hash-Algo": "md5"})

    _, told, _ = command(directory, directory / "missing")

    assert told.splitlines()[-1].startswith("3 images: 2 OK, 1 FAILED; 1.5 kB in ")


def test_a_terminal_has_a_progress_bar(
    swift: FaultySwift, client: swiftclient.Connection, container: str, directory: Path
) -> None:
    put_image(client, container, "slo")
    swift.control.inject(Fault(method="GET", target="/parts/4$", delay=1))

    environ = {"TERM": "xterm", "COLUMNS": "200"}
    status, screen = at_a_terminal("verify", directory / "image", environ=environ)

    assert status == 0
    assert "1 image " in screen
    assert "/2.0 MB" in screen
    assert "5 segments" in screen


def test_ctrl_c_ends_it_at_once(
    swift: FaultySwift, client: swiftclient.Connection, container: str, directory: Path
) -> None:
    put_image(client, container, "slo")
    # Not all connections: a request that the kernel waits for (a GETATTR at the end of a file)
    # cannot be given up by who is killed, and would stand behind them.
    swift.control.inject(Fault(method="GET", target="/parts/", count=4, delay=8))
    with subprocess.Popen(
        # Whoever runs the tests in the background has all programs below ignore SIGINT.
        ["env", "--default-signal=INT", *COMMAND, directory / "image"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for_request(swift, "/parts/0")
        started = time.monotonic()

        process.send_signal(signal.SIGINT)

        told, complaint = process.communicate(timeout=60)
    assert time.monotonic() - started < 6  # the answers come after eight
    assert (process.returncode, told, complaint) == (130, "", "swiftimgfs: interrupted\n")


# ── what cannot be understood ──────────────────────────────────────────────────────────


def test_paths_elsewhere_are_refused(directory: Path, tmp_path: Path, command: Runner) -> None:
    file = tmp_path / "red\x1b[31m"
    file.write_bytes(b"x")

    status, told, complaint = command(directory, file)

    assert (status, told) == (2, "")
    assert complaint.endswith("red\\x1b[31m is not in a mount of swiftimgfs\n")
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--os-hash-value", "ab", "image"], "not 128 hexadecimal digits"),
        (["--os-hash-value", "ab", "--os-hash-algo", "rot13", "image"], "unknown algorithm"),
        (["--os-hash-value", "0" * 128, "image", "image"], "of one image"),
        (["--os-hash-value", "0" * 128, ""], "of one image"),
        (["--os-hash-algo", "sha256", "image"], "goes with --os-hash-value"),
        (["--jobs", "0", "image"], "1 to 64"),
        ([], "PATH"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    directory: Path, arguments: list[str], word: str, command: Runner
) -> None:
    paths = {"image": directory / "image", "": directory}

    status, told, complaint = command(*(paths.get(word, word) for word in arguments))

    assert (status, told) == (2, "")
    assert word in complaint


@hypothesis.given(st.data())
def test_digests_do_not_depend_on_how_the_bytes_come(data: st.DataObject) -> None:
    image = data.draw(st.binary(max_size=40))
    ends = sorted(data.draw(st.sets(st.integers(0, len(image)))) | {0, len(image)})
    ranges = [r for r in itertools.pairwise(ends) if data.draw(st.booleans())]
    wrong = data.draw(st.sets(st.integers(0, len(ranges)), max_size=2))
    checks = [
        Check(
            start, end - start, Digest("md5", md5(image[start:end] + b"x" * (n in wrong)), "")
        )
        for n, (start, end) in enumerate(ranges)
    ]
    track = verifier._Track(checks)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(image)))) | {0, len(image)})

    for start, end in itertools.pairwise(cuts):
        track.update(start, memoryview(image)[start:end])
    track.close()

    assert [m.check for m in track.wrong] == [
        checks[n] for n in sorted(wrong) if n < len(checks)
    ]


def test_what_an_older_mount_does_not_tell_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"etag": "x", "manifest": "slo"}
    monkeypatch.setattr(facts, "_attribute", lambda _fd, name: answers.get(name))

    with pytest.raises(OSError, match="older swiftimgfs"):
        facts.read_facts(0)
