"""`swiftimgfs demo`: a real Swift, real images, a mount, and what to try with it."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.demo.images import GLANCE_ID, DemoImagesError, make_images, store_images
from swiftimgfs.demo.swift_process import EmbeddedSwift, EmbeddedSwiftError
from swiftimgfs.mount_process import MountProcess, start_mount
from swiftimgfs.mountpoint import check_host, check_mountpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_SECONDS = 90
CLOUD = "mycloud"  # as in README.md
# Small, so that the images of the demonstration are large objects.
SEGMENT_SIZE = "8M"

EPILOG = """
example:
  swiftimgfs demo /tmp/images

Exit status: 0 after Ctrl-C, 1 when this host is in the way.
"""


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="mount a Swift of its own, with images in it, to try things out",
        description="Start a one-node Swift on this machine, store images in it and mount it"
        " until Ctrl-C. Needs: pip install swiftimgfs[demo].",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "directory", metavar="DIR", nargs="?", help="mount point (default: new)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    _interrupt_on_sigterm()
    try:
        _check_swift()
        with contextlib.ExitStack() as stack:
            scratch = Path(stack.enter_context(_scratch()))
            mountpoint = stack.enter_context(_mountpoint(arguments.directory))
            check_host()
            check_mountpoint(mountpoint)
            _say("starting a one-node Swift, and storing images in it …")
            swift = stack.enter_context(EmbeddedSwift(scratch / "swift"))
            images = make_images(scratch / "images")
            store_images(swift, images)
            stack.enter_context(_mounted(mountpoint, swift))
            environment = _write_environment(scratch, swift)
            _say(_what_to_try(mountpoint, [image.name for image in images], environment))
            signal.pause()
    except KeyboardInterrupt:
        _say("\nunmounted, and everything is stopped.")
    except (errors.SwiftImgFsError, EmbeddedSwiftError, DemoImagesError) as failure:
        print(f"swiftimgfs: {failure}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _check_swift() -> None:
    """Refuse to begin what cannot be done, where the programs of Swift were not installed."""
    if importlib.util.find_spec("swift") is None:
        raise errors.MountError(
            "the demonstration runs a Swift, which is not installed:"
            " pip install 'swiftimgfs[demo]' (contrib/demo of a checkout does that)"
        )


def _interrupt_on_sigterm() -> None:
    """Let SIGTERM, and a terminal that is closed, do what Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)  # a shell's `&` would have it ignored
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """Give a directory; remove it afterwards, unless a Swift that did not start has its log there."""
    directory = tempfile.mkdtemp(prefix="swiftimgfs-demo-")
    is_needed = False
    try:
        yield directory
    except EmbeddedSwiftError:
        is_needed = True
        raise
    finally:
        if not is_needed:
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _mountpoint(directory: str | None) -> Iterator[Path]:
    """Give the directory to mount at; remove it afterwards if it was made here."""
    if directory is not None and Path(directory).exists():
        yield Path(directory).absolute()
        return
    made = Path(directory or tempfile.mkdtemp(prefix="swiftimgfs-mount-")).absolute()
    made.mkdir(parents=True, exist_ok=True)
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):  # still mounted, or used by somebody: leave it
            made.rmdir()


@contextlib.contextmanager
def _mounted(mountpoint: Path, swift: EmbeddedSwift) -> Iterator[None]:
    arguments = [
        "env:",
        str(mountpoint),
        "-o",
        f"segment_size={SEGMENT_SIZE},list_timeout=5,log_file=-",
    ]
    state = {"XDG_STATE_HOME": str(_state_of(swift))}
    environ = {**os.environ, **state, **swift.environ()}
    mounted = start_mount(arguments, environ, is_detached=False)
    if not mounted.is_serving:
        raise errors.MountError(mounted.message)
    try:
        yield
    finally:
        _stop(mounted)


def _state_of(swift: EmbeddedSwift) -> Path:
    """Return where mounts of the demonstration have their state, which is gone with it."""
    return swift.directory / "state"


def _write_environment(scratch: Path, swift: EmbeddedSwift) -> Path:
    """Write what a shell reads to use the store by other commands: as `env:` and as a cloud."""
    variables = swift.environ()
    auth = {
        "auth_url": variables["ST_AUTH"],
        "username": variables["ST_USER"],
        "password": variables["ST_KEY"],
    }
    clouds, environment = scratch / "clouds.yaml", scratch / "environment"
    # JSON is YAML. Others may not even look into the directory: it is mkdtemp's.
    clouds.write_text(
        json.dumps({"clouds": {CLOUD: {"auth_type": "v1password", "auth": auth}}})
    )
    clouds.chmod(0o600)
    variables |= {"OS_CLIENT_CONFIG_FILE": str(clouds), "XDG_STATE_HOME": str(_state_of(swift))}
    lines = [f"export {name}={shlex.quote(text)}" for name, text in variables.items()]
    programs = shlex.quote(str(Path(sys.executable).parent))
    environment.write_text("\n".join([*lines, f"export PATH={programs}:$PATH", ""]))
    return environment


def _stop(mounted: MountProcess) -> None:
    mounted.process.terminate()
    try:
        mounted.process.wait(STOP_SECONDS)
    except Exception:
        mounted.process.kill()
        raise


def _what_to_try(mountpoint: Path, names: list[str], environment: Path) -> str:
    first, glance = f"{mountpoint}/images/{names[0]}", f"{mountpoint}/glance/{GLANCE_ID}"
    lines = [
        f"an image store is mounted at {mountpoint}; try, in another terminal:",
        "",
        f"  ls -lR {mountpoint}",
        f"  cp {first} /tmp/ && sha256sum {first} /tmp/{names[0]}",
        f"  cp {glance} {mountpoint}/images/copy.img",
        f"  getfattr -n user.swift.etag {mountpoint}/images/{names[-1]}",
        f"  getfattr -n user.swift.location {glance}",
    ]
    if shutil.which("qemu-img"):
        lines.append(f"  qemu-img info {mountpoint}/images/{names[-1]}")
    lines += [
        "",
        f"with it as the cloud {CLOUD}, or env:, all other commands can be tried, too:",
        "",
        f"  . {environment}",
        f"  swiftimgfs check {CLOUD}",
        f"  swiftimgfs status {mountpoint}",
        f"  swiftimgfs verify {mountpoint}/glance",
        f"  swiftimgfs gc {CLOUD} --dry-run",
    ]
    return "\n".join([*lines, "", "Ctrl-C unmounts and stops everything."])


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
