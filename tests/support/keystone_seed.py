"""The database and keys every test's Keystone starts from, made once and copied.

Making them takes 8 s, copying them none. They are kept in the user's cache
directory under Keystone's version and a digest of this module, so that a change of
either makes a new seed. It appears there by a rename: of two runs that make one at the
same time, one wins and the other takes the winner's.

Every user's password is the user's name.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.child import clean_environ
from tests.support.identity_api import REGION, IdentityApi, password_session
from tests.support.keystone_process import (
    PUBLIC_ENDPOINT,
    KeystoneError,
    KeystoneProcess,
    configure,
)

ADMIN = "admin"

# The role that Swift's keystoneauth lets do anything in its own account, by default.
OPERATOR = "swiftoperator"


@dataclass(frozen=True, slots=True)
class Member:
    """A user, the project it works in and the roles it has there."""

    user: str
    project: str
    roles: tuple[str, ...]


MEMBERS = (
    Member("swift", "service", ("service",)),
    Member("glance", "service", (OPERATOR,)),
    Member("demo", "demo", (OPERATOR, "member")),
    Member("reader", "demo", ("reader",)),
    Member("other", "other", (OPERATOR, "member")),
)

_IDENTITY_URL = f"{PUBLIC_ENDPOINT}/v3"
_COMMANDS = (
    ("db_sync",),
    (
        "bootstrap",
        *("--bootstrap-username", ADMIN),
        *("--bootstrap-password", ADMIN),
        *("--bootstrap-project-name", ADMIN),
        *("--bootstrap-region-id", REGION),
        *("--bootstrap-public-url", _IDENTITY_URL),
        # keystonemiddleware asks the catalog for this one: without it, every request
        # to a Swift behind it is a 500.
        *("--bootstrap-internal-url", _IDENTITY_URL),
        *("--bootstrap-admin-url", _IDENTITY_URL),
    ),
)


def copy_seed(directory: Path) -> None:
    """Fill `directory` with Keystone's database and keys, making the seed if need be.

    Raises:
        KeystoneError: Keystone's own tools failed.
    """
    seed = _seed_directory()
    if not seed.exists():
        _make_seed(seed)
    shutil.copytree(seed, directory, dirs_exist_ok=True)


def _seed_directory() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = importlib.metadata.version("keystone")
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    return cache / "swiftimgfs-tests" / f"keystone-{version}-{recipe}"


def _make_seed(seed: Path) -> None:
    seed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=seed.parent, prefix="making-") as scratch:
        made = Path(scratch, "seed")
        made.mkdir(mode=0o700)
        _make_keys(made / "fernet-keys")
        _make_keys(made / "credential-keys")
        _bootstrap(made)
        with KeystoneProcess(made) as keystone:
            _add_members(keystone.auth_url)
        for leftover in ("keystone.conf", "keystone.log"):
            (made / leftover).unlink()
        _publish(made, seed)


def _publish(made: Path, seed: Path) -> None:
    try:
        made.rename(seed)
    except OSError:
        # Another run was quicker; anything else that can fail leaves no seed.
        if not seed.is_dir():
            raise


def _make_keys(repository: Path) -> None:
    """Write the primary and the staged key, as keystone-manage's fernet_setup does.

    That command insists on the names of a user and a group, which a container may not
    have for us, and takes three seconds.
    """
    repository.mkdir(mode=0o700)
    for name in ("0", "1"):
        (repository / name).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))


def _bootstrap(directory: Path) -> None:
    configuration = configure(directory, port=0, token_expiration=3600)
    for command in _COMMANDS:
        finished = subprocess.run(
            [
                *(sys.executable, "-c", "from keystone.cmd.manage import main; main()"),
                *("--config-file", str(configuration)),
                *command,
            ],
            env=clean_environ(),
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode != 0:
            raise KeystoneError(f"keystone-manage {command[0]} failed\n{finished.stderr}")


def _add_members(auth_url: str) -> None:
    login = password_session(auth_url, user=ADMIN, password=ADMIN, project=ADMIN)
    identity = IdentityApi(login, auth_url)
    identity.ensure("roles", "role", OPERATOR)
    for member in MEMBERS:
        project_id = identity.ensure("projects", "project", member.project)
        user_id = identity.ensure("users", "user", member.user, password=member.user)
        for role in member.roles:
            identity.assign_role(role, user_id=user_id, project_id=project_id)
