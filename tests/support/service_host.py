"""A host of its own, whose first process is the real systemd, in namespaces of this one.

Its root is a file system in memory with /usr, Python and this checkout in it, read-only but for
the directories of programs, and the old one is not to be reached any more: units that tidy up a host when it boots would tidy
up this one. Of systemd's units there are only targets and the journal, so that nothing of that
kind is even started. Network and kernel are this host's; mounts, processes and control groups are not, and
all of them end with the first process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.child import finished

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
UNITS = CHECKOUT / "contrib" / "systemd"
SYSTEMD = Path("/usr/lib/systemd/systemd")
CGROUPS = Path("/sys/fs/cgroup")
# What systemd makes groups in, where each has a hierarchy of its own; "" is the unified one.
CONTROLLERS = {"", "name=systemd", "cpu", "cpuacct", "blkio", "memory", "devices", "pids"}
NAMESPACES = ("--fork", "--pid", "--mount", "--uts", "--ipc", "--cgroup")
ENVIRON = {
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin",
    "SYSTEMD_PAGER": "",
}
BOOT_SECONDS = 60

BUILD = r"""
set -eu
root=$1
shift
# Makes a directory of programs, which more can be put into: links to those that are there.
mirror() {
    mkdir -p ".host/$1" "usr/$1"
    mount --bind -o ro "/usr/$1" ".host/$1"
    (cd "usr/$1" && ln -s "$2.host/$1/"* .)
}
mount --make-rprivate /
mount -t tmpfs -o mode=755 root "$root"
cd "$root"
mkdir -p .old dev etc mnt opt proc root run sys tmp var/cache var/lib var/log
for path in /usr/*/ /usr/local/*/; do
    case $path in
    /usr/bin/ | /usr/sbin/ | /usr/local/ | /usr/local/bin/) ;;
    *) mkdir -p ".$path"; mount --bind -o ro "$path" ".$path" ;;
    esac
done
mirror bin ../../
mirror sbin ../../
mirror local/bin ../../../
for name in bin sbin lib lib64; do ln -s "usr/$name" "$name"; done
for path; do mkdir -p ".$path"; mount --bind -o ro "$path" ".$path"; done

for name in passwd group nsswitch.conf hosts ssl ld.so.cache fuse.conf; do
    [ ! -e "/etc/$name" ] || cp -rL "/etc/$name" etc/
done
mkdir -p etc/openstack etc/swiftimgfs etc/systemd/system etc/tmpfiles.d etc/udev/rules.d
units=/usr/lib/systemd/system
cp $units/*.target $units/systemd-journald* etc/systemd/system/
mkdir etc/systemd/system/sockets.target.wants
ln -s ../systemd-journald.socket etc/systemd/system/sockets.target.wants/
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id

mount -t tmpfs -o mode=755 dev dev
for name in null zero full random urandom tty fuse autofs; do
    [ -e "/dev/$name" ] || continue
    : >"dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
# What systemd says to the kernel's log and to the console is nobody's.
for name in kmsg console; do : >"dev/$name"; mount --bind /dev/null "dev/$name"; done
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=755 run run
mount -t proc proc proc
mount --bind -o ro proc/sys proc/sys
mount --bind -o ro /sys sys
case $(stat -f -c %T /sys/fs/cgroup) in
cgroup2fs) mount -t cgroup2 cgroup sys/fs/cgroup ;;
*) mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup ;;
esac
pivot_root . .old
umount -l /.old
rmdir /.old
cd /
# As systemd does where it is not in a container: its helpers mount credentials for all to see.
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin SYSTEMD_UNIT_PATH=/etc/systemd/system \
    SYSTEMD_GENERATOR_PATH=/nowhere /usr/lib/systemd/systemd --system --unit=basic.target
"""


class ServiceHost:
    """That host; what is done there is done as its root."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._holder = holder
        self._first = 0

    def boot(self) -> None:
        """Return when systemd has started what it was told to.

        Raises:
            AssertionError: It did not; with what it, or the shell before it, said.
        """
        deadline = time.monotonic() + BOOT_SECONDS
        said = ""
        while time.monotonic() < deadline and self._holder.poll() is None:
            self._first = self._first or _child_of(self._holder.pid)
            if self._first:
                done = self.call("systemctl", "is-system-running")
                said = done.stdout
                if said.strip() in {"running", "degraded"}:
                    return
            time.sleep(0.1)  # noqa: TID251  # no event loop
        status = self._holder.poll()
        raise AssertionError(f"systemd does not run: {status=} {said}")

    def call(
        self, *arguments: object, seconds: float = 120, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there; what it prints, its complaints too, is in `stdout`."""
        enter = ["nsenter", f"--target={self._first}", "--mount", "--pid", "--cgroup", "--uts"]
        command = [*enter, "--ipc", *map(str, arguments)]
        return finished(command, {**ENVIRON, **variables}, seconds)

    def run(self, *arguments: object, seconds: float = 120) -> str:
        """Run a program that must succeed there; return what it prints."""
        done = self.call(*arguments, seconds=seconds)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o600) -> None:
        """Make a file there, and the directories above it."""
        script = 'mkdir -p "${1%/*}" && printf %s "$2" >"$1" && chmod "$3" "$1"'
        self.run("sh", "-c", script, "sh", path, text, f"{mode:o}")

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit, as systemd knows it now."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()


@contextlib.contextmanager
def service_host(directory: Path) -> Iterator[ServiceHost]:
    """Boot a host while the context lasts; `directory` is where its root is mounted.

    Raises:
        AssertionError: It does not boot.
    """
    root = directory / "root"
    root.mkdir()
    groups = _make_groups(f"swiftimgfs-{os.getpid()}-{time.monotonic_ns()}")
    prefixes = {CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)}
    binds = [path for path in sorted(prefixes) if not path.is_relative_to("/usr")]
    join = 'for group; do case $group in --) break;; esac; echo $$ >"$group/cgroup.procs"; done'
    command = ["unshare", "--kill-child", *NAMESPACES, "sh", "-c", BUILD, "sh"]
    command += [str(root), *map(str, binds)]
    into = f'{join}; while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
    holder = subprocess.Popen(
        ["sh", "-ec", into, "sh", *map(str, groups), "--", *command], stdin=subprocess.DEVNULL
    )
    host = ServiceHost(holder)
    try:
        host.boot()
        yield host
    finally:
        holder.kill()
        holder.wait()
        _remove_groups(groups)


def why_not() -> str:
    """Return why no such host can be had here; empty when one can."""
    if os.geteuid() != 0:
        return "needs root, for namespaces with mounts and control groups"
    if not SYSTEMD.exists():
        return f"needs systemd: there is no {SYSTEMD}"
    missing = [name for name in ("unshare", "nsenter", "pivot_root") if not shutil.which(name)]
    if missing:
        return f"needs {', '.join(missing)} of util-linux"
    if not all(os.access(path, os.W_OK) for path in _own_groups()):
        return "needs control groups that can be written"
    may = subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, check=False)
    return f"needs namespaces: {may.stderr.decode().strip()}" if may.returncode else ""


def _child_of(pid: int) -> int:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


def _own_groups() -> Iterator[Path]:
    """Yield the control groups that this process is in."""
    unified = "unified" if (CGROUPS / "unified").exists() else "."
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        group = CGROUPS / (controllers.removeprefix("name=") or unified) / path.lstrip("/")
        if controllers in CONTROLLERS and group.is_dir():
            yield group


def _make_groups(name: str) -> list[Path]:
    """Make control groups below ours, so that systemd's are all in them."""
    made = [group / name for group in _own_groups()]
    for group in made:
        group.mkdir()
    return made


def _remove_groups(groups: list[Path]) -> None:
    deadline = time.monotonic() + 10
    for group in groups:
        for path in sorted(group.rglob("*/"), key=lambda path: -len(path.parts)):
            _remove_group(path, deadline)
        _remove_group(group, deadline)


def _remove_group(path: Path, deadline: float) -> None:
    while True:
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # noqa: TID251  # its processes are still ending
        else:
            return
