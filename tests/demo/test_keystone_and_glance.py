"""The cloud of the tests: who gets in, and what Glance's own driver leaves in it."""

from __future__ import annotations

import hashlib
import uuid

import pytest
import swiftclient
from keystoneauth1 import exceptions
from openstack import config as openstack_config

from tests.support.glance import GLANCE_MB, GlanceError, GlanceOptions

# Not a multiple of the segment size: the case in which the driver needs our care.
LARGE = bytes(range(256)) * (5 * GLANCE_MB // 2 // 256)
SEGMENTED = GlanceOptions(large_object_size=1, large_object_chunk_size=1)
SEEDED = GlanceOptions(
    large_object_size=1, large_object_chunk_size=1, multiple_containers_seed=2
)

# It warns of its own support for InfluxDB, asked for or not.
built_by_openstacksdk = pytest.mark.filterwarnings("ignore:Support for InfluxDB")


@pytest.fixture(scope="module", params=[SEGMENTED, SEEDED], ids=["one container", "seeded"])
def glance(openstack, request):
    options = request.param
    with openstack.glance(f"glance-{options.multiple_containers_seed}", options) as driver:
        yield driver


@pytest.fixture
def image_id():
    return str(uuid.uuid4())


@pytest.fixture
def connect():
    """Return swiftclient connections by session, and close them in the end."""
    connections = []

    def connect_with(session, **options):
        connections.append(swiftclient.Connection(session=session, retries=0, **options))
        return connections[-1]

    yield connect_with
    for connection in connections:
        connection.close()


@pytest.fixture
def glance_account(openstack, connect):
    return connect(openstack.session("glance", "service"))


def session_from(environ, monkeypatch):
    """Log in as the command-line clients do."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return openstack_config.get_cloud_region(load_yaml_config=False).get_session()


def container_of(location):
    return location.split("/")[-2]


def names_in(account, container):
    _, listing = account.get_container(container)
    return [row["name"] for row in listing]


def test_the_catalog_leads_to_the_project_s_account(openstack):
    session = openstack.session()

    endpoint = session.get_endpoint(service_type="object-store", interface="internal")

    assert endpoint == openstack.storage_url("demo")
    assert endpoint.endswith(session.get_project_id())


def test_an_operator_stores_and_lists(openstack, connect):
    account = connect(openstack.session())

    account.put_container("operators")
    _, containers = account.get_account()

    assert "operators" in [row["name"] for row in containers]


@built_by_openstacksdk
def test_the_environment_is_a_login(openstack, connect, monkeypatch):
    environ = openstack.environ("other", "other")

    account = connect(session_from(environ, monkeypatch))

    assert account.get_auth()[0] == openstack.storage_url("other")
    account.get_account()


def test_a_wrong_password_is_refused(openstack):
    session = openstack.keystone.session(password="wrong")

    with pytest.raises(exceptions.Unauthorized):
        session.get_token()


def test_a_reader_lists_but_does_not_store(openstack, connect):
    account = connect(openstack.session("reader", "demo"))

    account.get_account()
    with pytest.raises(swiftclient.ClientException) as failure:
        account.put_container("readers")

    assert failure.value.http_status == 403


def test_another_project_is_kept_out(openstack, connect):
    stranger = connect(
        openstack.session("other", "other"),
        os_options={"object_storage_url": openstack.storage_url("demo")},
    )

    with pytest.raises(swiftclient.ClientException) as failure:
        stranger.get_account()

    assert failure.value.http_status == 403


def test_an_unknown_token_is_refused(openstack):
    with pytest.raises(swiftclient.ClientException) as failure:
        swiftclient.get_account(openstack.storage_url("demo"), "no-such-token")

    assert failure.value.http_status == 401


@built_by_openstacksdk
def test_an_application_credential_is_a_login(openstack, connect, monkeypatch):
    credential = openstack.keystone.create_application_credential("mount", roles=("member",))
    environ = openstack.keystone.credential_environ(credential)

    account = connect(session_from(environ, monkeypatch))

    assert account.get_auth()[0] == openstack.storage_url("demo")
    account.get_account()


def test_glance_stores_a_small_image_as_one_object(glance, glance_account, image_id):
    image = glance.add(image_id, b"small")

    container = container_of(image.location)
    _, content = glance_account.get_object(container, image_id)
    assert content == b"small"
    assert b"".join(glance.get(image.location)) == b"small"
    assert glance.get_size(image.location) == len(b"small")
    assert image.checksum == hashlib.md5(b"small").hexdigest()
    assert image.os_hash_value == hashlib.sha512(b"small").hexdigest()


def test_glance_stores_a_large_image_as_a_dlo(glance, glance_account, image_id):
    image = glance.add(image_id, LARGE)

    container = container_of(image.location)
    headers, content = glance_account.get_object(container, image_id)
    assert content == LARGE
    assert headers["x-object-manifest"] == f"{container}/{image_id}-"
    assert [name for name in names_in(glance_account, container) if image_id in name] == [
        image_id,
        f"{image_id}-00001",
        f"{image_id}-00002",
        f"{image_id}-00003",
    ]
    assert b"".join(glance.get(image.location)) == LARGE
    assert glance.get_size(image.location) == image.size == len(LARGE)
    assert image.os_hash_value == hashlib.sha512(LARGE).hexdigest()


def test_glance_stores_a_multiple_of_the_segment_size_told_its_size(glance, image_id, tmp_path):
    content = LARGE[: 2 * GLANCE_MB]
    (tmp_path / "image").write_bytes(content)

    image = glance.add(image_id, tmp_path / "image")

    assert b"".join(glance.get(image.location)) == content


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["plain", "DLO"])
def test_glance_deletes_all_it_stored(glance, glance_account, image_id, content):
    image = glance.add(image_id, content)

    glance.delete(image.location)

    left = names_in(glance_account, container_of(image.location))
    assert [name for name in left if image_id in name] == []
    with pytest.raises(GlanceError, match="NotFound"):
        glance.get(image.location)


def test_a_seed_puts_the_start_of_the_id_into_the_container_s_name(openstack, image_id):
    with openstack.glance("glance-named", SEEDED) as driver:
        image = driver.add(image_id, b"small")

        driver.delete(image.location)

    assert image.location == f"swift+config://ref1/glance_{image_id[:2]}/{image_id}"
