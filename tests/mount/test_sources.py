"""One image, mounted through every kind of source."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import swiftclient

from tests.support.cloud import Cloud, cloud, tls_cloud
from tests.support.commands import done_by
from tests.support.mounts import mounted
from tests.support.open_files import let_everybody_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.cloud import TlsCloud

pytestmark = pytest.mark.mount

CONTAINER = "images"
IMAGE = "disk.img"
BYTES = os.urandom(300_000)
LARGE_ID = "0f5d6a2e-6c1b-4c55-9f7e-2d3a5b8c9e10"


@dataclass(frozen=True, slots=True)
class Way:
    """A source, with the environment and the options that it takes."""

    source: str
    environ: dict[str, str]
    options: str = ""


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with the image in project demo, and in tempauth's account."""
    with cloud(tmp_path_factory.mktemp("cloud")) as running:
        swift = running.swift
        for client in (
            swiftclient.Connection(session=running.session()),
            swiftclient.Connection(swift.auth_url, swift.user, swift.key),
        ):
            client.put_container(CONTAINER)
            client.put_object(CONTAINER, IMAGE, BYTES)
            client.close()
        yield running


def token_of(running: Cloud) -> str:
    token = running.session().get_token()
    assert token
    return token


def glance_file(directory: Path, group: str, **options: object) -> Path:
    """Write a glance-api.conf whose `group` has these options, without their prefix."""
    path = directory / "glance-api.conf"
    lines = [f"{name} = {value}" for name, value in options.items()]
    path.write_text("\n".join(["[DEFAULT]", *HEADS.get(group, []), f"[{group}]", *lines, ""]))
    return path


HEADS = {
    "fast": ["enabled_backends = fast:swift,cheap:file"],
    "glance_store": ["show_image_direct_url = True"],
}


def references(running: Cloud, directory: Path) -> Path:
    path = directory / "glance-swift.conf"
    path.write_text(
        f"[ref1]\nauth_address = {running.keystone.auth_url}\nuser = 'demo:demo'\nkey = demo\n"
    )
    return path


def password(running: Cloud, directory: Path) -> Way:
    return Way("env:", running.environ())


def application_credential(running: Cloud, directory: Path) -> Way:
    made = running.keystone.create_application_credential(directory.name)
    return Way("env:", running.keystone.credential_environ(made))


def token_and_storage_url(running: Cloud, directory: Path) -> Way:
    variables = {
        "OS_STORAGE_URL": running.storage_url(),
        "OS_AUTH_TOKEN": token_of(running),
    }
    return Way("env:", variables)


def tempauth(running: Cloud, directory: Path) -> Way:
    return Way("env:", running.swift.environ())


def clouds_yaml(running: Cloud, directory: Path) -> Way:
    made = running.keystone.create_application_credential(directory.name)
    file = directory / "clouds.yaml"
    file.write_text(
        f"""
clouds:
  mycloud:
    auth_type: v3applicationcredential
    region_name: RegionOne
    auth:
      auth_url: {running.keystone.auth_url}
      application_credential_id: {made.id}
      application_credential_secret: {made.secret}
"""
    )
    return Way("mycloud", {"OS_CLIENT_CONFIG_FILE": str(file)})


def glance_with_references(running: Cloud, directory: Path) -> Way:
    file = references(running, directory)
    glance = glance_file(
        directory, "glance_store", stores="swift", swift_store_config_file=file
    )
    return Way(f"glance:{glance}", {})


def glance_without_references(running: Cloud, directory: Path) -> Way:
    glance = glance_file(
        directory,
        "glance_store",
        swift_store_auth_address=running.keystone.auth_url,
        swift_store_user="demo:demo",
        swift_store_key="demo",
        swift_store_region="RegionOne",
    )
    return Way(f"glance:{glance}", {})


def glance_with_an_application_credential(running: Cloud, directory: Path) -> Way:
    made = running.keystone.create_application_credential(directory.name)
    glance = glance_file(
        directory,
        "glance_store",
        swift_store_auth_address=running.keystone.auth_url,
        swift_store_application_credential_id=made.id,
        swift_store_application_credential_secret=made.secret,
    )
    return Way(f"glance:{glance}", {})


def glance_backend(running: Cloud, directory: Path) -> Way:
    file = references(running, directory)
    return Way(
        f"glance:{glance_file(directory, 'fast', swift_store_config_file=file)}#fast", {}
    )


def glance_multi_tenant(running: Cloud, directory: Path) -> Way:
    glance = glance_file(
        directory,
        "glance_store",
        swift_store_multi_tenant=True,
        swift_store_auth_address=running.keystone.auth_url,
        swift_store_user="service:glance",
        swift_store_key="glance",
    )
    return Way(f"glance:{glance}", {"OS_AUTH_TOKEN": token_of(running)})


def reference_location(running: Cloud, directory: Path) -> Way:
    options = f"config_file={references(running, directory)}"
    return Way("swift+config://ref1", {}, options)


def location_with_a_key_in_a_file(running: Cloud, directory: Path) -> Way:
    file = directory / "source"
    address = running.keystone.auth_url.removeprefix("http://")
    file.write_text(f"swift+http://demo%3Ademo:demo@{address}\n")
    file.chmod(0o600)
    return Way(f"@{file}", {})


def location_with_a_key_in_the_environment(running: Cloud, directory: Path) -> Way:
    address = running.keystone.auth_url.removeprefix("http://")
    return Way(f"swift+http://demo%3Ademo:@{address}", {"SWIFTIMGFS_KEY": "demo"})


def location_of_tempauth(running: Cloud, directory: Path) -> Way:
    swift = running.swift
    address = swift.auth_url.removeprefix("http://")
    user = swift.user.replace(":", "%3A")
    return Way(f"swift+http://{user}:@{address}", {"SWIFTIMGFS_KEY": swift.key})


def storage_url_of_the_caller(running: Cloud, directory: Path) -> Way:
    variables = {
        "OS_AUTH_URL": running.keystone.auth_url,
        "OS_AUTH_TOKEN": token_of(running),
    }
    return Way(f"swift+{running.storage_url()}", variables)


def own_configuration_file(running: Cloud, directory: Path) -> Way:
    file = directory / "swiftimgfs" / "swiftimgfs.conf"
    file.parent.mkdir()
    file.write_text(f"[swiftimgfs]\nconfig_file = {references(running, directory)}\n")
    return Way("swift+config://ref1", {"XDG_CONFIG_HOME": str(directory)})


WAYS: list[Callable[[Cloud, Path], Way]] = [
    password,
    application_credential,
    token_and_storage_url,
    tempauth,
    clouds_yaml,
    glance_with_references,
    glance_without_references,
    glance_with_an_application_credential,
    glance_backend,
    glance_multi_tenant,
    reference_location,
    location_with_a_key_in_a_file,
    location_with_a_key_in_the_environment,
    location_of_tempauth,
    storage_url_of_the_caller,
    own_configuration_file,
]


def secrets_in(text: str, way: Way) -> list[str]:
    """Return which of the tokens and generated secrets that were given show in a text."""
    given = [
        value for name, value in way.environ.items() if "TOKEN" in name or "SECRET" in name
    ]
    return [secret for secret in given if secret in text]


@pytest.mark.parametrize("make", WAYS, ids=lambda make: make.__name__)
def test_the_image_is_there_whatever_the_source(
    openstack: Cloud, tmp_path: Path, make: Callable[[Cloud, Path], Way]
) -> None:
    way = make(openstack, tmp_path)

    with mounted(tmp_path, way.environ, way.options, way.source) as running:
        assert (running.path / CONTAINER / IMAGE).read_bytes() == BYTES
        (running.path / CONTAINER / "new").write_bytes(b"new")
        location = os.getxattr(running.path / CONTAINER / IMAGE, "user.swift.location")
        table = Path("/proc/mounts").read_text().splitlines()
        mount_table = next(line for line in table if str(running.path) in line)
        arguments = Path(f"/proc/{running.process.pid}/cmdline").read_text()

    log = running.log.read_text()
    shown = "\n".join([location.decode(), mount_table, arguments, log])
    assert secrets_in(shown, way) == []
    assert "demo%3Ademo" not in location.decode() + mount_table


@pytest.mark.parametrize("make", [glance_with_references, reference_location])
def test_locations_name_the_reference_that_was_used(
    openstack: Cloud, tmp_path: Path, make: Callable[[Cloud, Path], Way]
) -> None:
    way = make(openstack, tmp_path)

    with mounted(tmp_path, way.environ, way.options, way.source) as running:
        location = os.getxattr(running.path / CONTAINER / IMAGE, "user.swift.location")

    assert location == f"swift+config://ref1/{CONTAINER}/{IMAGE}".encode()


@pytest.mark.parametrize(
    "make", [password, glance_backend, location_with_a_key_in_the_environment]
)
def test_a_part_of_the_store_is_mounted(
    openstack: Cloud, tmp_path: Path, make: Callable[[Cloud, Path], Way]
) -> None:
    way = make(openstack, tmp_path)
    separator = "/" if "://" in way.source else ":"
    source = f"{way.source.removesuffix(':')}{separator}{CONTAINER}"

    with mounted(tmp_path, way.environ, way.options, source) as running:
        assert (running.path / IMAGE).read_bytes() == BYTES


def test_somebody_whom_an_acl_lets_in_mounts_the_container(
    openstack: Cloud, tmp_path: Path
) -> None:
    owner = swiftclient.Connection(session=openstack.session())
    owner.put_container("shared")
    owner.put_object("shared", IMAGE, BYTES)
    source = f"swift+{openstack.storage_url('demo')}"
    other = openstack.environ("other", "other")

    refused = done_by("mount", f"{source}/shared", tmp_path, environ=other, status=1)
    owner.post_container(
        "shared", {"X-Container-Read": f"{openstack.keystone.project_id('other')}:*"}
    )
    owner.close()

    assert "403" in refused.stderr
    with mounted(tmp_path, other, source=f"{source}/shared") as running:
        assert os.listdir(running.path) == [IMAGE]
        assert (running.path / IMAGE).read_bytes() == BYTES
        with pytest.raises(PermissionError):
            (running.path / "x").write_bytes(b"x")


def test_a_mount_in_the_background_finds_a_relative_clouds_yaml_and_warns_of_its_mode(
    openstack: Cloud, tmp_path: Path
) -> None:
    let_everybody_in(tmp_path)
    way = clouds_yaml(openstack, tmp_path)
    place = tmp_path / "mnt"
    place.mkdir()
    log = tmp_path / "log"
    state = {"OS_CLIENT_CONFIG_FILE": "clouds.yaml", "XDG_STATE_HOME": str(tmp_path / "state")}

    command = ("mount", way.source, "mnt", "-o", f"log_file={log}")
    done = done_by(*command, environ=state, directory=tmp_path, status=None)
    subprocess.run(["fusermount3", "-u", str(place)], check=False)

    file = tmp_path / "clouds.yaml"
    warning = f"everybody on this host can read {file}: chmod o-r {file}"
    assert (done.returncode, done.stderr) == (0, f"swiftimgfs: warning: {warning}\n")
    assert warning in log.read_text()


# ── TLS ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsCloud]:
    with tls_cloud(tmp_path_factory.mktemp("tls")) as running:
        yield running


@pytest.mark.parametrize("how", ["cacert", "insecure", "OS_CACERT", "OS_INSECURE", "yaml"])
def test_tls_with_the_right_ca_or_none_that_is_asked_for(
    secured: TlsCloud, tmp_path: Path, how: str
) -> None:
    environ, options, source = secured.environ(), "", "env:"
    match how:
        case "cacert":
            options = f"cacert={secured.ca_file}"
        case "insecure":
            options = "insecure"
        case "OS_CACERT":
            environ["OS_CACERT"] = secured.ca_file
        case "OS_INSECURE":
            environ["OS_INSECURE"] = "true"
        case _:
            source, environ = "mine", {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")}
            (tmp_path / "clouds.yaml").write_text(
                f"""
clouds:
  mine:
    region_name: RegionOne
    cacert: {secured.ca_file}
    auth: {{auth_url: '{secured.auth_url}', username: demo, password: demo,
           project_name: demo, user_domain_id: default, project_domain_id: default}}
"""
            )

    with mounted(tmp_path, environ, options, source) as running:
        (running.path / f"c-{how}").mkdir()
        (running.path / f"c-{how}" / IMAGE).write_bytes(BYTES)
        location = os.getxattr(running.path / f"c-{how}" / IMAGE, "user.swift.location")

    assert location.startswith(b"swift+https://")


@pytest.mark.parametrize("ca", ["none", "another"])
def test_tls_with_a_wrong_ca_is_one_clear_line(
    secured: TlsCloud, tmp_path: Path, ca: str
) -> None:
    options = ["-o", f"cacert={secured.other_ca_file}"] if ca == "another" else []

    done = done_by("mount", "env:", tmp_path, *options, environ=secured.environ(), status=1)

    assert done.stderr == (
        f"swiftimgfs: authentication of demo (env:): the certificate of {secured.auth_url} is"
        " not trusted: give its authority's by cacert (-o cacert=FILE; cacert in clouds.yaml;"
        " OS_CACERT with env:)\n"
    )


def test_in_a_multi_tenant_store_glance_can_share_and_remove_large_images_of_ours(
    openstack: Cloud, tmp_path: Path
) -> None:
    way = glance_multi_tenant(openstack, tmp_path)
    image_id, container = LARGE_ID, f"glance_{LARGE_ID}"
    options = (
        "segment_size=64K,large_object_size=128K,layout=images,create_container_on_put,"
        "list_timeout=0"
    )
    owner = swiftclient.Connection(session=openstack.session())
    other = swiftclient.Connection(
        session=openstack.session("other", "other"),
        os_options={"object_storage_url": openstack.storage_url("demo")},
    )

    with mounted(tmp_path, way.environ, options, way.source) as running:
        (running.path / image_id).write_bytes(BYTES)
        assert image_id in os.listdir(running.path)
        assert not [name for name in os.listdir(running.path) if name != image_id]
        owner.post_container(container, {"X-Container-Read": "*:*"})  # what Glance does
        assert other.get_object(container, image_id)[1] == BYTES
        names = [row["name"] for row in owner.get_account()[1]]
        owner.delete_object(container, image_id, query_string="multipart-manifest=delete")
        owner.delete_container(container)

    assert f"{container}_segments" not in names
    owner.close()
    other.close()
