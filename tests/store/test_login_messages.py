"""What is said when a login fails: who, where, and why in a few words of ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from swiftimgfs import errors
from swiftimgfs.store import clouds
from swiftimgfs.store.auth import EndpointOptions, TransportOptions
from swiftimgfs.store.login import CloudLogin, EnvironmentLogin, ReferenceLogin, log_in
from swiftimgfs.store.references import AccountReference
from tests.support.cloud import tls_cloud
from tests.support.open_files import let_everybody_in, opens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.cloud import Cloud, TlsCloud


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsCloud]:
    with tls_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture
def openstack(secured: TlsCloud) -> Cloud:
    return secured.cloud


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def write_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Write a clouds.yaml with the one cloud `mine`, which is the one that is used."""

    def write(auth_url: str, password: str = "demo", **more: str) -> Path:
        auth = {
            "auth_url": auth_url,
            "username": "demo",
            "password": password,
            "project_name": "demo",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }
        path = tmp_path / "clouds.yaml"
        path.write_text(yaml.safe_dump({"clouds": {"mine": {"auth": auth, **more}}}))
        path.chmod(0o600)
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
        return path

    return write


def said(login: CloudLogin | EnvironmentLogin | ReferenceLogin) -> str:
    return str(failure_of(login))


def failure_of(
    login: CloudLogin | EnvironmentLogin | ReferenceLogin,
) -> errors.SwiftImgFsError:
    identity, _ = log_in(login, EndpointOptions(), TransportOptions(timeout=10), os.environ)
    with pytest.raises(errors.SwiftImgFsError) as caught:
        identity.access()
    return caught.value


def test_a_refusal_names_the_user_the_cloud_and_keystone(openstack, write_cloud):
    write_cloud(openstack.keystone.auth_url, password="wrong")

    assert said(CloudLogin("mine")) == (
        f"authentication of demo (cloud mine) at {openstack.keystone.auth_url}:"
        " Keystone refused the credentials"
    )


def test_a_refusal_names_the_reference(openstack):
    auth_url = openstack.keystone.auth_url
    reference = AccountReference("ref7", auth_url, "demo:demo", "wrong").with_domains()

    assert said(ReferenceLogin(reference)) == (
        f"authentication of demo:demo (reference ref7) at {auth_url}:"
        " Keystone refused the credentials"
    )


@pytest.mark.parametrize("version", ["/v3", ""])
def test_nobody_listening_is_a_short_line(write_cloud, closed_port, version):
    auth_url = f"http://127.0.0.1:{closed_port}{version}"
    write_cloud(auth_url)

    assert said(CloudLogin("mine")) == (
        f"authentication of demo (cloud mine): cannot reach {auth_url}: connection refused"
    )


def test_a_host_that_nobody_knows_is_a_short_line(write_cloud):
    write_cloud("http://keystone.invalid:5000/v3")

    assert said(CloudLogin("mine")).endswith(
        ": cannot reach http://keystone.invalid:5000/v3: no such host"
    )


def test_tempauth_is_named_with_its_user(openstack, monkeypatch, closed_port):
    monkeypatch.setenv("ST_AUTH", f"http://127.0.0.1:{closed_port}/auth/v1.0")
    monkeypatch.setenv("ST_USER", "demo:demo")
    monkeypatch.setenv("ST_KEY", "demo")

    assert said(EnvironmentLogin()) == (
        "authentication of demo:demo: cannot reach"
        f" http://127.0.0.1:{closed_port}/auth/v1.0: connection refused"
    )
    monkeypatch.setenv("ST_AUTH", openstack.swift.auth_url)
    monkeypatch.setenv("ST_KEY", "wrong")
    assert f"of demo:demo at {openstack.swift.auth_url}: 401" in said(EnvironmentLogin())


def test_a_proxy_is_not_taken_for_keystone(write_cloud, closed_port, monkeypatch):
    write_cloud("http://keystone.example.org:5000/v3")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port}")

    assert said(CloudLogin("mine")).endswith(
        "cannot reach the proxy before http://keystone.example.org:5000/v3: connection refused"
    )


def test_a_certificate_of_nobody_s_says_which_option_helps(secured, write_cloud):
    write_cloud(secured.auth_url, cacert=secured.other_ca_file)

    line = said(CloudLogin("mine"))

    assert f": the certificate of {secured.auth_url} is not trusted: give its" in line
    assert "-o cacert=FILE" in line


def test_a_certificate_that_is_not_trusted_is_not_asked_for_again(
    secured, write_cloud, closed_port
):
    write_cloud(secured.auth_url, cacert=secured.other_ca_file)
    assert not failure_of(CloudLogin("mine")).is_transient

    write_cloud(f"http://127.0.0.1:{closed_port}/v3")
    assert failure_of(CloudLogin("mine")).is_transient


def test_a_certificate_for_another_name_is_not_the_authority_s_fault(secured, write_cloud):
    auth_url = secured.auth_url.replace("127.0.0.1", "127.1")  # no name in the certificate
    write_cloud(auth_url, cacert=secured.ca_file)

    line = said(CloudLogin("mine"))

    assert f": the certificate of {auth_url} is refused: " in line
    assert "cacert" not in line


@pytest.mark.parametrize("where", ["clouds.yaml", "OS_CACERT"])
def test_a_file_without_a_certificate_is_refused_by_its_name(
    secured, write_cloud, monkeypatch, tmp_path, where
):
    empty = tmp_path / "empty.pem"
    empty.write_text("127.0.0.1 localhost\n")
    if where == "clouds.yaml":
        write_cloud(secured.auth_url, cacert=str(empty))
        login: CloudLogin | EnvironmentLogin = CloudLogin("mine")
    else:
        for name, text in secured.environ().items():
            monkeypatch.setenv(name, text)
        monkeypatch.setenv("OS_CACERT", str(empty))
        login = EnvironmentLogin()

    with pytest.raises(errors.ConfigError, match=f"cacert {empty}: no certificate"):
        log_in(login, EndpointOptions(), TransportOptions(timeout=10), os.environ)


@pytest.mark.parametrize("kind", ["denied", "not YAML"])
def test_a_clouds_yaml_that_is_passed_over_is_told(tmp_path, kind):
    """Where openstacksdk looks by itself; as nobody, since root may read everything."""
    file = tmp_path / "clouds.yaml"
    file.write_text("clouds: {}" if kind == "denied" else "[")
    file.chmod(0 if kind == "denied" else 0o644)
    program = """
import os
from swiftimgfs.store.clouds import region_of_cloud
if os.geteuid() == 0:
    from openstack.config import defaults, loader
    defaults.get_defaults()  # nobody may not read them where this checkout is in a home
    os.seteuid(65534)
region_of_cloud("mine")
"""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    directory = tempfile.mkdtemp()  # that nobody can look into
    os.chmod(directory, 0o755)
    moved = Path(shutil.move(file, directory))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env={**environ, "HOME": directory, "XDG_CONFIG_HOME": directory},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    shutil.rmtree(directory)

    reason = "Permission denied" if kind == "denied" else "not YAML"
    assert done.stderr.strip().endswith(f"no cloud 'mine': {moved}: {reason}")


@pytest.mark.parametrize(
    ("mode", "has_secret", "is_warned_of"),
    [(0o644, True, True), (0o640, True, False), (0o600, True, False), (0o644, False, False)],
)
def test_a_secret_that_everybody_can_read_is_warned_of(
    write_cloud, monkeypatch, tmp_path, mode, has_secret, is_warned_of
):
    let_everybody_in(tmp_path)
    path = write_cloud("http://127.0.0.1:9/v3")
    if not has_secret:  # as openstacksdk has it: the password in a file of its own
        content = yaml.safe_load(path.read_text())
        del content["clouds"]["mine"]["auth"]["password"]
        path.write_text(yaml.safe_dump(content))
        secure = tmp_path / "secure.yaml"
        secure.write_text("clouds: {mine: {auth: {password: demo}}}")
        secure.chmod(0o600)
        monkeypatch.setenv("OS_CLIENT_SECURE_FILE", str(secure))
    path.chmod(mode)

    identity, _ = log_in(CloudLogin("mine"), EndpointOptions(), TransportOptions(), os.environ)

    expected = f"everybody on this host can read {path}: chmod o-r {path}"
    assert identity.warning == (expected if is_warned_of else "")


def test_who_logs_in_reads_clouds_yaml_no_more_often_than_who_wants_its_settings(write_cloud):
    path = write_cloud("http://127.0.0.1:9/v3")
    with opens() as of_settings:
        clouds.region_of_cloud("mine")

    with opens() as of_login:
        log_in(CloudLogin("mine"), EndpointOptions(), TransportOptions(), os.environ)

    assert of_login.count(str(path)) == of_settings.count(str(path)) > 0
