"""What the layers below are told, and what cannot be meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme

from swiftimgfs.config.load import load_config, load_store_config
from swiftimgfs.errors import ConfigError
from swiftimgfs.model.details import ExactTimes
from tests.support.sources import KEY, written


def test_a_mount_is_told_everything_that_was_set(monkeypatch):
    options = (
        "ro,allow_other,uid=7,gid=8,umask=077,connections=3,timeout=9,retries=2,insecure,"
        "attr_timeout=3,list_timeout=4,mtime=listing,show_segments,memory_limit=16M,"
        "segment_size=1M,large_object_size=2M,allow_glance_writes,last_writer_wins,log_file=-,"
        "layout=images,container=pics,multiple_containers_seed=2,create_container_on_put,"
        "admin_tenants=a:b,retry_get_count=6,expire_soon_interval=5,region=R,"
        "endpoint=https://h/v1/A,endpoint_type=internalURL,service_type=os"
    )

    config = load_config("env:", "some/where", [options])

    store = config.store
    assert (store.connections, store.retry.tries, store.retry.timeout) == (3, 2, 9.0)
    assert (store.transport.timeout, store.transport.insecure) == (9.0, True)
    endpoint = store.endpoint
    assert (endpoint.storage_url, endpoint.region) == ("https://h/v1/A", "R")
    assert (endpoint.interface, endpoint.service_type) == ("internalURL", "os")
    assert endpoint.expire_soon == 5
    assert (store.naming.container, store.naming.seed) == ("pics", 2)
    assert config.mountpoint == Path.cwd() / "some" / "where"
    assert (config.is_read_only, config.is_for_all, config.log_file) == (True, True, "-")
    assert (config.cache_limit, config.writing.memory_limit) == (14 << 20, 6 << 20)
    assert config.admin_tenants == ("a", "b")
    shown = config.presentation
    assert (shown.uid, shown.gid, shown.umask, shown.attr_timeout) == (7, 8, 0o77, 3.0)
    fresh = config.freshness
    assert (fresh.attr_timeout, fresh.list_timeout) == (3.0, 4.0)
    assert (fresh.exact_times, fresh.show_segments) == (ExactTimes.NOBODY, True)
    assert config.read_retry.tries == 7
    writing = config.writing
    assert (writing.segment_size, writing.large_object_size) == (1 << 20, 2 << 20)
    assert (writing.allow_glance_writes, writing.last_writer_wins) == (True, True)
    assert writing.naming == config.view.naming == store.naming


def test_a_mount_that_is_told_nothing_has_the_callers_ids_and_the_logins_endpoint():
    config = load_config("env:", "/mnt", [])

    umask = os.umask(0)
    os.umask(umask)
    shown = config.presentation
    assert (shown.uid, shown.gid, shown.umask) == (os.getuid(), os.getgid(), umask)
    endpoint = config.store.endpoint
    assert (endpoint.interface, endpoint.service_type, endpoint.region) == (None, None, None)
    assert config.writing.large_object_size == config.writing.segment_size == 64 << 20
    assert config.read_retry == config.store.retry
    assert not config.store.transport.insecure


def test_either_name_of_insecure_is_enough():
    for option in ("insecure", "auth_insecure", "swift_store_auth_insecure"):
        assert load_store_config("env:", [option])[0].transport.insecure


@pytest.mark.parametrize(
    "url",
    [
        "swift.example.org/v1",
        "ftp://h/v1",
        "HTTPS//h",
        "http://[",
        "http://h:bad/v1",
        "http://h/v1?x",
        f"http://u:{KEY}@h/v1",
    ],
)
def test_an_endpoint_is_a_plain_http_url(url):
    with pytest.raises(ConfigError, match="swift_store_endpoint") as caught:
        load_store_config("env:", [f"endpoint={url}"])

    assert KEY not in str(caught.value)


def test_the_file_of_certificates_is_read_at_once_and_found_from_anywhere(
    tmp_path, monkeypatch
):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    written(tmp_path / "hosts", "127.0.0.1 localhost\n")
    monkeypatch.chdir(tmp_path)

    config, _ = load_store_config("env:", ["cacert=ca.pem"])

    assert config.transport.cacert == str(tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match=r"cacert .*/no\.pem: No such file"):
        load_store_config("env:", ["cacert=no.pem"])
    with pytest.raises(ConfigError, match=r"cacert .*/hosts: no certificate \(PEM\) in it"):
        load_store_config("env:", ["cacert=hosts"])


def test_buffering_uploads_needs_a_directory_that_can_be_written(tmp_path):
    def load(*options: str) -> None:
        load_store_config("env:", options)

    with pytest.raises(ConfigError, match="swift_buffer_on_upload needs swift_upload_buffer"):
        load("buffer_on_upload")
    with pytest.raises(ConfigError, match="no directory that can be written"):
        load(f"buffer_on_upload,upload_buffer_dir={tmp_path}/none")
    with pytest.raises(ConfigError, match="no directory that can be written"):
        load(f"buffer_on_upload,upload_buffer_dir={written(tmp_path / 'file', '')}")
    load(f"buffer_on_upload,upload_buffer_dir={tmp_path}")
    load(f"upload_buffer_dir={tmp_path}/none")  # as with the driver: nobody asks for it


def test_a_container_needs_a_name():
    with pytest.raises(ConfigError, match="a container needs a name"):
        load_store_config("env:", ["container="])


@pytest.mark.parametrize(
    ("variable", "hint"),
    [("CONECTIONS", "did you mean connections?"), ("XYZZY", "see swiftimgfs mount --help")],
)
def test_a_variable_that_is_no_option_is_refused(monkeypatch, variable, hint):
    monkeypatch.setenv(f"OS_SWIFTIMGFS__{variable}", "3")

    with pytest.raises(ConfigError) as caught:
        load_store_config("env:", [])

    name = variable.lower()
    assert str(caught.value) == f"OS_SWIFTIMGFS__{variable}: unknown option {name!r} ({hint})"


def test_an_empty_mount_point_is_not_the_current_directory():
    with pytest.raises(ConfigError, match="no mount point"):
        load_config("env:", "", [])
