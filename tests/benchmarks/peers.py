"""What reads and writes: mounts, ours and rclone's, and programs that do without a mount.

rclone's Swift back-end takes everything from the environment (RCLONE_CONFIG_BENCH_*); no
configuration file is read. `rclone` is its mount as it comes, whose close waits until Swift
has the image; the flags of the others are the best that were found for Debian's 1.60.1,
each for another pattern of reading, and for writing among those whose close waits.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import swiftclient

from swiftimgfs.mount_process import start_mount
from tests.benchmarks.endpoint import CONTAINER
from tests.benchmarks.processes import ToolError, run, stop, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.benchmarks.endpoint import Endpoint

OURS = "swiftimgfs"
OURS_UNVERIFIED = "swiftimgfs verify=off"
OURS_UNHASHED = "swiftimgfs hashing_algo=none"  # peers keep no digest of a whole image
RCLONE = "rclone"
RCLONE_STREAM = "rclone stream"
RCLONE_FULL = "rclone full"
RCLONE_CHUNKS = "rclone chunks"
RCLONE_SMALL = "rclone small"
RCLONE_BEST = (RCLONE_STREAM, RCLONE_FULL, RCLONE_CHUNKS, RCLONE_SMALL)
RCLONE_SEGMENTS = "rclone segments"
RCLONE_PLAIN = "rclone plain"
RCLONE_WRITING = (RCLONE, RCLONE_SEGMENTS, RCLONE_PLAIN)
SWIFT_DOWNLOAD = "swift download"
SWIFT_UPLOAD = "swift upload"
CURLS = "eight curls"  # what the server takes at most, from who hashes nothing
CURL = "curl"
OURS_LISTING = "swiftimgfs mtime=listing"
RCLONE_LISTING = "rclone listing"
SWIFTCLIENT = "swiftclient"  # the pages of the listing alone, as Python gets them
MEMORY = "page cache"
MD5SUM = "md5sum"  # of the file in memory: what one core can verify of one stream

MOUNT_SECONDS = 30
INTERRUPTED_SECONDS = 5
# Of swift upload and of the rclone that makes them: as large as ours.
SEGMENT_SIZE = 64 * 1024**2

RCLONE_FLAGS: Mapping[str, Sequence[str]] = {
    RCLONE: (),
    # Names and sizes as the listing says them, and no request for the time of each.
    RCLONE_LISTING: ("--use-server-modtime",),
    # One stream, unchecked, with more of it ahead in memory.
    RCLONE_STREAM: ("--buffer-size=128M", "--no-checksum", "--no-modtime"),
    # Through a cache of files, in memory.
    RCLONE_FULL: (
        "--vfs-cache-mode=full",
        "--buffer-size=64M",
        "--vfs-read-ahead=256M",
        "--vfs-fast-fingerprint",
        "--no-checksum",
        "--no-modtime",
    ),
    # Requests of less than ten segments, so that Swift does not slow them down.
    RCLONE_CHUNKS: (
        "--buffer-size=64M",
        "--vfs-read-chunk-size=32M",
        "--vfs-read-chunk-size-limit=32M",
        "--no-checksum",
        "--no-modtime",
    ),
    # Short requests, hardly waiting for a sequence that does not come.
    RCLONE_SMALL: (
        "--buffer-size=256K",
        "--vfs-read-chunk-size=256K",
        "--vfs-read-wait=1ms",
        "--no-checksum",
        "--no-modtime",
    ),
    # An image of unknown size as segments like ours, without hashing it a second time.
    RCLONE_SEGMENTS: (
        f"--swift-chunk-size={SEGMENT_SIZE}B",
        "--no-checksum",
        "--no-modtime",
        "--buffer-size=64M",
    ),
    # ... as one object.
    RCLONE_PLAIN: ("--swift-no-chunk", "--no-checksum", "--no-modtime", "--buffer-size=64M"),
}


@dataclass(frozen=True, slots=True)
class Served:
    """A mount: its root, the directory with the images, and the process that serves it."""

    root: Path
    images: Path
    pid: int


def can_turn_verification_off() -> bool:
    """Whether our mount has the option; an old one has not."""
    help_text = run([sys.executable, "-m", "swiftimgfs", "mount", "--help"], MOUNT_SECONDS)
    return "  verify " in help_text.output


@contextlib.contextmanager
def mounted(
    peer: str, endpoint: Endpoint, directory: Path, *, is_writable: bool = False
) -> Iterator[Served]:
    """Mount the account in a new directory below `directory` while the context lasts.

    All that a mount writes goes there too, so that a disk limits nobody.

    Raises:
        ToolError: It does not serve; the message says why.
    """
    place = directory / uuid.uuid4().hex[:8]
    path = place / "mnt"
    path.mkdir(parents=True)
    mount = _rclone if peer in RCLONE_FLAGS else _ours
    try:
        with mount(peer, endpoint, place, is_writable=is_writable) as process:
            yield Served(path, path / CONTAINER, process.pid)
    finally:
        # Asking first is no use: a dead mount does not look like one to os.path.ismount.
        subprocess.run(
            ["fusermount3", "-uz", str(path)], check=False, stderr=subprocess.DEVNULL
        )


@contextlib.contextmanager
def _ours(
    peer: str, endpoint: Endpoint, place: Path, *, is_writable: bool
) -> Iterator[subprocess.Popen[bytes]]:
    options = [f"log_file={place / 'mount.log'}", *([] if is_writable else ["ro"])]
    options += [f"cacert={endpoint.ca_file}"] if endpoint.ca_file else []
    options += [peer.partition(" ")[2]] if " " in peer else []
    arguments = ["env:", str(place / "mnt"), "-o", ",".join(options)]
    environ = {name: value for name, value in os.environ.items() if name[:3] != "OS_"}
    environ |= st_variables(endpoint) | {"XDG_STATE_HOME": str(place / "state")}
    try:
        started = start_mount(arguments, environ, is_detached=True)
    except KeyboardInterrupt:
        # It is on its way up, and nobody's: it ends when `mounted` unmounts it.
        wait_until(lambda: os.path.ismount(place / "mnt"), INTERRUPTED_SECONDS)
        raise
    if not started.is_serving:
        raise ToolError(started.message)
    try:
        yield started.process
    finally:
        stop(started.process)


@contextlib.contextmanager
def _rclone(
    peer: str, endpoint: Endpoint, place: Path, *, is_writable: bool
) -> Iterator[subprocess.Popen[bytes]]:
    path, log = place / "mnt", place / "mount.log"
    command = ["rclone", "mount", "bench:", str(path), "--config=", f"--log-file={log}"]
    command += [f"--cache-dir={place / 'cache'}", *RCLONE_FLAGS[peer]]
    command += [] if is_writable else ["--read-only"]
    command += [f"--ca-cert={endpoint.ca_file}"] if endpoint.ca_file else []
    process = subprocess.Popen(
        command,
        env=os.environ | rclone_variables(endpoint),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def is_there() -> bool:
        return process.poll() is not None or os.path.ismount(path)

    try:
        if not wait_until(is_there, MOUNT_SECONDS) or process.returncode is not None:
            raise ToolError(f"rclone does not mount: {_end_of(log)}")
        yield process
    finally:
        stop(process)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-300:] if log.exists() else "no log"


def st_variables(endpoint: Endpoint) -> dict[str, str]:
    """Return what python-swiftclient and our mount take from the environment."""
    return {"ST_AUTH": endpoint.auth_url, "ST_USER": endpoint.user, "ST_KEY": endpoint.key}


def rclone_variables(endpoint: Endpoint) -> dict[str, str]:
    """Return what makes the remote `bench:` of rclone."""
    values = {
        "type": "swift",
        "auth": endpoint.auth_url,
        "auth_version": "1",
        "user": endpoint.user,
        "key": endpoint.key,
    }
    return {f"RCLONE_CONFIG_BENCH_{key.upper()}": value for key, value in values.items()}


# ── programs without a mount ──────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Command:
    """A program that reads or writes an image by itself."""

    arguments: Sequence[str]
    environ: Mapping[str, str]


def swift_download(endpoint: Endpoint, image: str) -> Command:
    """Download as the swift command does, but keep nothing."""
    program = Path(sys.executable).with_name("swift")
    arguments = [str(program), "download", CONTAINER, image, "--no-download"]
    arguments += [f"--os-cacert={endpoint.ca_file}"] if endpoint.ca_file else []
    return Command(arguments, st_variables(endpoint))


def curl(endpoint: Endpoint, image: str) -> Command:
    """Download as fast as one connection goes."""
    options = {"cacert": str(endpoint.ca_file)} if endpoint.ca_file else {}
    url, token = swiftclient.get_auth(
        endpoint.auth_url, endpoint.user, endpoint.key, auth_version="1", **options
    )
    arguments = ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null"]
    arguments += ["--cacert", str(endpoint.ca_file)] if endpoint.ca_file else []
    header = f"X-Auth-Token: {token}"
    return Command([*arguments, "--header", header, f"{url}/{CONTAINER}/{image}"], {})


def swift_upload(endpoint: Endpoint, source: Path, name: str) -> Command:
    """Upload as the swift command does, in segments, ten at a time (its default)."""
    program = Path(sys.executable).with_name("swift")
    arguments = [str(program), "upload", CONTAINER, str(source), f"--object-name={name}"]
    arguments += [f"--segment-size={SEGMENT_SIZE}", "--segment-threads=10"]
    return Command(arguments, st_variables(endpoint))


def curl_uploads(endpoint: Endpoint, sources: Sequence[Path]) -> Command:
    """Upload files as objects, eight at a time, each by its name."""
    url, token = swiftclient.get_auth(
        endpoint.auth_url, endpoint.user, endpoint.key, auth_version="1"
    )
    arguments = ["curl", "--silent", "--show-error", "--fail", "--fail-early", "--parallel"]
    arguments += ["--parallel-immediate", "--parallel-max", "8"]
    arguments += ["--header", f"X-Auth-Token: {token}", "--header", "Expect:"]
    for source in sources:
        arguments += ["--upload-file", str(source), "--output", "/dev/null"]
        arguments += [f"{url}/{CONTAINER}/{source.name}"]
    return Command(arguments, {})


COMMANDS: Mapping[str, Callable[[Endpoint, str], Command]] = {
    SWIFT_DOWNLOAD: swift_download,
    CURL: curl,
}
