"""The TLS fronts of the tests: who believes whom, and what addresses servers answer."""

from __future__ import annotations

import hashlib

import pytest
import requests
import swiftclient
from keystoneauth1 import exceptions
from openstack import config as openstack_config

from tests.support.cloud import tls_cloud
from tests.support.embedded_swift import faulty_swift
from tests.support.fault_control import Fault
from tests.support.tls import tls_front

BODY = bytes(range(256)) * 4096 * 3  # 3 MiB: many TLS records, and more than a pipe holds

built_by_openstacksdk = pytest.mark.filterwarnings("ignore:Support for InfluxDB")
insecure = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    with faulty_swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture(scope="module")
def front(faulty, tmp_path_factory):
    with tls_front(tmp_path_factory.mktemp("tls"), faulty.swift.port) as running:
        yield running


@pytest.fixture(scope="module")
def openstack(tmp_path_factory):
    with tls_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


def log_in(swift, base_url, **options):
    """Return the storage URL and a token, as the mount's LegacyIdentity gets them."""
    return swiftclient.client.get_auth_1_0(
        f"{base_url}/auth/v1.0", swift.user, swift.key, **options
    )


def session_from(environ, monkeypatch, **options):
    """Return a session as the mount makes it from OS_* variables."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return openstack_config.get_cloud_region(load_yaml_config=False, **options).get_session()


# ── tempauth ───────────────────────────────────────────────────────────────────────────


def test_whoever_believes_the_authority_is_served(front):
    answer = requests.get(f"{front.base_url}/healthcheck", verify=front.ca_file)

    assert answer.text == "OK"


def test_with_another_authority_s_file_the_server_is_not_believed(front):
    with pytest.raises(requests.exceptions.SSLError, match="certificate verify failed"):
        requests.get(f"{front.base_url}/healthcheck", verify=front.other_ca_file)


def test_the_system_s_authorities_do_not_vouch_for_the_server(front):
    with pytest.raises(requests.exceptions.SSLError, match="certificate verify failed"):
        requests.get(f"{front.base_url}/healthcheck")


@insecure
def test_who_does_not_verify_is_served(front):
    assert requests.get(f"{front.base_url}/healthcheck", verify=False).text == "OK"


def test_after_failed_handshakes_the_front_serves_on(front):
    for _ in range(3):
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{front.base_url}/healthcheck", verify=front.other_ca_file)

    assert requests.get(f"{front.base_url}/healthcheck", verify=front.ca_file).ok


def test_a_storage_url_of_a_login_over_tls_is_https_at_the_front(faulty, front):
    storage_url, _ = log_in(faulty.swift, front.base_url, cacert=front.ca_file)

    assert storage_url == f"{front.base_url}/v1/AUTH_demo"


def test_a_storage_url_of_a_plain_login_stays_plain(faulty, front):
    storage_url, _ = log_in(faulty.swift, faulty.swift.base_url)

    assert storage_url == faulty.swift.storage_url
    assert storage_url.startswith("http://")


@pytest.mark.parametrize("size", [0, len(BODY)])
def test_bytes_go_through_both_ways(faulty, front, size):
    client = swiftclient.Connection(
        f"{front.base_url}/auth/v1.0", faulty.swift.user, faulty.swift.key, cacert=front.ca_file
    )
    body = BODY[:size]

    client.put_container("c")
    etag = client.put_object("c", "o", body)
    _, read = client.get_object("c", "o")

    assert client.url.startswith("https://")
    assert etag == hashlib.md5(body).hexdigest()
    assert read == body
    client.close()


def test_a_connection_that_the_server_cuts_breaks_at_the_client(faulty, front):
    storage_url, token = log_in(faulty.swift, front.base_url, cacert=front.ca_file)
    headers = {"X-Auth-Token": token}
    requests.put(f"{storage_url}/cut", headers=headers, verify=front.ca_file)
    requests.put(f"{storage_url}/cut/o", BODY, headers=headers, verify=front.ca_file)
    faulty.control.inject(Fault(method="GET", target="/cut/o", cut_after=1_000_000))

    answer = requests.get(
        f"{storage_url}/cut/o", headers=headers, verify=front.ca_file, stream=True
    )
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        assert answer.content


def test_a_front_without_a_backend_turns_everybody_away(tmp_path):
    with tls_front(tmp_path) as front, pytest.raises(requests.ConnectionError):
        requests.get(front.base_url, verify=front.ca_file)


# ── Keystone ───────────────────────────────────────────────────────────────────────────


@built_by_openstacksdk
def test_login_and_catalog_of_a_keystone_are_https(openstack, monkeypatch):
    environ = openstack.environ() | {"OS_CACERT": openstack.ca_file}
    session = session_from(environ, monkeypatch)

    identity = session.get_endpoint(service_type="identity", interface="public")
    storage_url = session.get_endpoint(service_type="object-store", interface="public")

    assert identity.startswith(openstack.keystone.base_url)
    assert storage_url.startswith(f"{openstack.swift.base_url}/v1/KEY_")


@built_by_openstacksdk
def test_version_documents_lead_to_https(openstack):
    answer = requests.get(openstack.auth_url, verify=openstack.ca_file).json()

    links = [link["href"] for link in answer["version"]["links"]]
    assert all(link.startswith(openstack.keystone.base_url) for link in links)


@built_by_openstacksdk
def test_swift_believes_the_tokens_of_that_keystone(openstack, monkeypatch):
    environ = openstack.environ() | {"OS_CACERT": openstack.ca_file}
    session = session_from(environ, monkeypatch)
    client = swiftclient.Connection(session=session, cacert=openstack.ca_file, retries=0)

    client.put_container("c")
    client.put_object("c", "o", BODY)

    assert client.get_object("c", "o")[1] == BODY
    client.close()


@built_by_openstacksdk
def test_with_another_authority_s_file_there_is_no_login(openstack, monkeypatch):
    environ = openstack.environ() | {"OS_CACERT": openstack.other_ca_file}

    with pytest.raises(exceptions.SSLError):
        session_from(environ, monkeypatch).get_token()


@built_by_openstacksdk
def test_the_authority_that_the_swift_believes_is_not_believed_here(openstack, monkeypatch):
    with pytest.raises(exceptions.SSLError):
        session_from(openstack.environ(), monkeypatch).get_token()


@built_by_openstacksdk
@insecure
def test_who_does_not_verify_gets_in(openstack, monkeypatch):
    session = session_from(openstack.environ(), monkeypatch)
    session.verify = False

    assert session.get_token()
