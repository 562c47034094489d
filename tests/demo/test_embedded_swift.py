"""The embedded Swift is a real Swift, and the faults around it are what they say."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

import pytest
import swiftclient

from swiftimgfs.demo.options import (
    KeystoneService,
    OptionsError,
    SwiftOptions,
    SwiftUser,
    format_arguments,
    parse_arguments,
)
from swiftimgfs.demo.swift_process import EmbeddedSwift, EmbeddedSwiftError
from tests.support.embedded_swift import faulty_swift
from tests.support.fault_control import Fault

CHECKOUT = pathlib.Path(__file__).parents[2]
MIB = 1024 * 1024
BODY = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with faulty_swift(
        tmp_path_factory.mktemp("swift"),
        constraints={"max_file_size": 2 * MIB, "container_listing_limit": 7},
        slo={"max_manifest_segments": 9},
    ) as faulty:
        yield faulty


@pytest.fixture
def client(faulty):
    """A client with a token and the container `c`, in which `o` is `BODY`."""
    with faulty.client("c") as connection:
        connection.put_object("c", "o", BODY)
        faulty.control.clear()
        yield connection


def client_of(swift):
    return contextlib.closing(swiftclient.Connection(swift.auth_url, swift.user, swift.key))


def connection_to(faulty):
    return http.client.HTTPConnection("127.0.0.1", faulty.swift.port, timeout=10)


def get_raw(faulty, client, target="c/o"):
    """Return the status and whatever of the body came, through a plain HTTP client."""
    with contextlib.closing(connection_to(faulty)) as connection:
        path = urllib.parse.urlsplit(client.url).path
        connection.request("GET", f"{path}/{target}", headers={"X-Auth-Token": client.token})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        except http.client.IncompleteRead as exc:
            return answer.status, exc.partial


def wait_until_gone(pid_descriptor, seconds=5.0):
    return bool(select.select([pid_descriptor], [], [], seconds)[0])


class TestSwift:
    def test_what_was_put_is_got_and_listed_until_it_is_deleted(self, client):
        client.put_object("c", "p", b"hello", headers={"X-Object-Meta-Name": "value"})

        headers, body = client.get_object("c", "p")
        names = [item["name"] for item in client.get_container("c")[1]]
        client.delete_object("c", "p")

        assert (body, headers["x-object-meta-name"]) == (b"hello", "value")
        assert names == ["o", "p"]
        assert [item["name"] for item in client.get_container("c")[1]] == ["o"]

    def test_a_static_large_object_is_its_segments_together(self, client):
        manifest = []
        for number in range(3):
            etag = client.put_object("c", f"s/{number}", b"%d" % number * MIB)
            manifest.append({"path": f"/c/s/{number}", "etag": etag, "size_bytes": MIB})

        client.put_object(
            "c", "slo", json.dumps(manifest), query_string="multipart-manifest=put"
        )

        headers, body = client.get_object("c", "slo")
        assert body == b"0" * MIB + b"1" * MIB + b"2" * MIB
        assert headers["x-static-large-object"] == "True"

    def test_a_dynamic_large_object_is_its_segments_together(self, client):
        for number in range(3):
            client.put_object("c", f"d-{number:05}", b"%d" % number * 10)

        client.put_object("c", "dlo", b"", headers={"X-Object-Manifest": "c/d-"})

        assert client.get_object("c", "dlo")[1] == b"0" * 10 + b"1" * 10 + b"2" * 10

    def test_a_wrong_key_is_refused(self, faulty):
        with (
            contextlib.closing(faulty.connect(key="wrong")) as client,
            pytest.raises(swiftclient.ClientException) as refused,
        ):
            client.head_account()

        assert refused.value.http_status == http.HTTPStatus.UNAUTHORIZED

    def test_another_user_sees_a_container_that_an_acl_opens(self, faulty, client):
        with contextlib.closing(faulty.connect(user="demo:reader", key="reader")) as reader:
            with pytest.raises(swiftclient.ClientException) as refused:
                reader.get_object("c", "o")
            client.post_container("c", {"X-Container-Read": "demo:reader"})

            assert reader.get_object("c", "o")[1] == BODY

        assert refused.value.http_status == http.HTTPStatus.FORBIDDEN

    def test_constraints_and_slo_options_are_announced_and_kept(self, faulty, client):
        capabilities = client.get_capabilities(faulty.swift.base_url + "/info")

        with pytest.raises(swiftclient.ClientException) as refused:
            client.put_object("c", "large", b"x" * (2 * MIB + 1))

        assert capabilities["swift"]["max_file_size"] == 2 * MIB
        assert capabilities["swift"]["container_listing_limit"] == 7
        assert capabilities["slo"]["max_manifest_segments"] == 9
        assert refused.value.http_status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def test_an_account_knows_its_totals_shortly_after(self, client):
        deadline = time.monotonic() + 10
        while int(client.head_account()["x-account-bytes-used"]) != len(BODY):
            assert time.monotonic() < deadline
            select.select([], [], [], 0.1)

        assert client.head_account()["x-account-object-count"] == "1"

    def test_segments_come_slowly_if_so_wanted(self, tmp_path):
        with (
            EmbeddedSwift(tmp_path, object_memory=True, rate_limit_segments=True) as swift,
            client_of(swift) as client,
        ):
            client.put_container("c")
            for number in range(12):
                client.put_object("c", f"d-{number:05}", b"x")
            client.put_object("c", "dlo", b"", headers={"X-Object-Manifest": "c/d-"})
            started = time.monotonic()

            body = client.get_object("c", "dlo")[1]

        assert body == b"x" * 12
        assert time.monotonic() - started > 0.9


class TestFaults:
    def test_the_journal_tells_what_was_asked_and_answered(self, faulty, client):
        client.get_object("c", "o", headers={"Range": "bytes=0-99"})
        client.put_object("c", "ü", b"12345")
        client.get_container("c", prefix="x")

        ranged, put, listing = faulty.control.journal()

        assert (ranged.method, ranged.path) == ("GET", "/v1/AUTH_demo/c/o")
        assert (ranged.status, ranged.range, ranged.bytes_sent) == (206, "bytes=0-99", 100)
        assert ranged.duration is not None
        assert put.started >= ranged.started
        assert (put.path, put.bytes_received) == ("/v1/AUTH_demo/c/ü", 5)
        assert listing.target == "/v1/AUTH_demo/c?format=json&prefix=x"
        assert not any(request.harmed for request in (ranged, put, listing))

    def test_a_status_is_answered_in_place_of_the_backend(self, faulty, client):
        faulty.control.inject(
            Fault(method="PUT", status=503, headers={"Retry-After": "7"}, body="busy")
        )

        with pytest.raises(swiftclient.ClientException) as refused:
            client.put_object("c", "new", b"data")

        assert refused.value.http_status == 503
        assert refused.value.http_response_content == b"busy"
        assert refused.value.http_response_headers["Retry-After"] == "7"
        assert [item["name"] for item in client.get_container("c")[1]] == ["o"]

    def test_only_the_wanted_of_the_matching_requests_are_harmed(self, faulty, client):
        faulty.control.inject(Fault(method="GET", target="/c/o$", skip=1, count=2, status=500))
        client.head_object("c", "o")

        statuses = [get_raw(faulty, client)[0] for _ in range(4)]

        assert statuses == [200, 500, 500, 200]
        assert [entry.harmed for entry in faulty.control.journal()] == [
            *(False, False, True, True, False)
        ]

    def test_a_delayed_answer_comes_late_and_whole(self, faulty, client):
        faulty.control.inject(Fault(delay=0.3))
        started = time.monotonic()

        answer = get_raw(faulty, client)

        assert time.monotonic() - started >= 0.3
        assert answer == (200, BODY)

    @pytest.mark.parametrize("size", [0, 1, 100_000, len(BODY) - 1])
    def test_a_cut_body_ends_after_exactly_so_many_bytes(self, faulty, client, size):
        faulty.control.inject(Fault(cut_after=size))

        answer = get_raw(faulty, client)

        assert answer == (200, BODY[:size])
        assert faulty.control.journal()[0].bytes_sent == size

    def test_a_stalled_body_pauses_and_goes_on(self, faulty, client):
        faulty.control.inject(Fault(stall_after=70_000, stall_seconds=0.4))
        with contextlib.closing(connection_to(faulty)) as connection:
            path = urllib.parse.urlsplit(client.url).path
            connection.request("GET", path + "/c/o", headers={"X-Auth-Token": client.token})
            answer = connection.getresponse()

            before = answer.read(70_000)
            started = time.monotonic()
            after = answer.read()

        assert time.monotonic() - started >= 0.3
        assert before + after == BODY

    def test_a_lost_answer_was_done_nevertheless(self, faulty, client):
        faulty.control.inject(Fault(method="PUT", lose_answer=True))

        with pytest.raises((swiftclient.ClientException, OSError)):
            client.put_object("c", "new", b"data")

        assert client.get_object("c", "new")[1] == b"data"
        assert faulty.control.journal()[0].status is None

    def test_a_cut_upload_never_arrives(self, faulty, client):
        faulty.control.inject(Fault(method="PUT", cut_upload_after=1000))

        with pytest.raises((swiftclient.ClientException, OSError)):
            client.put_object("c", "new", BODY)

        assert [item["name"] for item in client.get_container("c")[1]] == ["o"]
        assert faulty.control.journal()[0].bytes_received == 1000

    def test_a_corrupt_byte_is_the_only_wrong_one(self, faulty, client):
        faulty.control.inject(Fault(corrupt_at=65_537))

        status, body = get_raw(faulty, client)

        wrong = [place for place in range(len(BODY)) if body[place] != BODY[place]]
        assert (status, len(body), wrong) == (200, len(BODY), [65_537])

    def test_forgotten_tokens_are_refused_and_new_ones_given(self, faulty, client):
        old = client.token
        faulty.control.forget_tokens()

        status, _ = get_raw(faulty, client)
        with contextlib.closing(faulty.connect()) as other:
            assert other.get_object("c", "o")[1] == BODY
            assert other.token != old

        assert status == http.HTTPStatus.UNAUTHORIZED

    def test_tokens_can_be_forgotten_at_a_chosen_request(self, faulty, client):
        faulty.control.inject(Fault(target="/c/o$", skip=1, forget_tokens=True))

        assert [get_raw(faulty, client)[0] for _ in range(3)] == [200, 401, 401]

    def test_reset_leaves_nothing(self, faulty, client):
        faulty.control.inject(Fault(count=None, status=500))

        faulty.reset()

        assert client.get_account()[1] == []


class TestProcess:
    def test_another_one_in_the_same_directory_has_the_same_data(self, tmp_path):
        body = os.urandom(MIB)
        with EmbeddedSwift(tmp_path) as swift, client_of(swift) as client:
            client.put_container("c")
            client.put_object("c", "o", body)

        with EmbeddedSwift(tmp_path) as swift, client_of(swift) as client:
            assert client.get_object("c", "o")[1] == body
            assert client.get_container("c")[1][0]["hash"] == hashlib.md5(body).hexdigest()

    def test_it_is_gone_after_stop(self, tmp_path):
        swift = EmbeddedSwift(tmp_path)

        swift.stop()
        swift.stop()

        with pytest.raises(ProcessLookupError):
            os.kill(swift.pid, 0)

    def test_it_ends_when_its_parent_is_killed(self, tmp_path):
        code = (
            "import sys, time\n"
            "from swiftimgfs.demo.swift_process import EmbeddedSwift\n"
            f"swift = EmbeddedSwift({str(tmp_path)!r})\n"
            "sys.stdout.write(f'{swift.pid}\\n'); sys.stdout.flush()\n"
            "sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as parent:
            assert parent.stdout is not None
            child = os.pidfd_open(int(parent.stdout.readline()))
            parent.send_signal(signal.SIGKILL)
            parent.wait()

        try:
            assert wait_until_gone(child)
        finally:
            os.close(child)

    def test_a_taken_port_is_named(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            with pytest.raises(EmbeddedSwiftError) as failure:
                EmbeddedSwift(tmp_path, port)

        assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in str(
            failure.value
        )
        assert "Traceback" not in str(failure.value)

    def test_a_directory_serves_one_at_a_time(self, faulty):
        with pytest.raises(EmbeddedSwiftError, match="another one is running there"):
            EmbeddedSwift(faulty.swift.directory)

    @pytest.mark.parametrize(
        ("options", "explanation"),
        [
            ({"constraints": {"no_such": 1}}, "Swift has no constraint no_such"),
            ({"constraints": {"max_file_size": "x"}}, "wrong value of a constraint"),
            ({"wrap": ("no_such_module:name",)}, "cannot wrap the proxy"),
        ],
    )
    def test_wrong_options_are_explained(self, tmp_path, options, explanation):
        with pytest.raises(EmbeddedSwiftError, match=explanation) as failure:
            EmbeddedSwift(tmp_path, **options)

        assert "Traceback" not in str(failure.value)

    def test_a_directory_that_cannot_be_is_explained(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")

        with pytest.raises(EmbeddedSwiftError, match="Not a directory"):
            EmbeddedSwift(tmp_path / "file")

    def test_a_missing_swift_is_named(self, tmp_path):
        # -S: without site-packages.
        command = [sys.executable, "-S", "-m", "swiftimgfs.demo.swift_server", str(tmp_path)]

        result = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, check=False
        )

        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1
        assert "pip install swiftimgfs[demo]" in result.stderr

    def test_environ_is_what_the_swift_command_needs(self, faulty):
        assert faulty.swift.environ() == {
            "ST_AUTH": faulty.swift.auth_url,
            "ST_USER": "demo:demo",
            "ST_KEY": "demo",
        }


class TestOptions:
    def test_arguments_give_the_options_back(self):
        options = SwiftOptions(
            port=1,
            object_memory=True,
            users=(SwiftUser("a", "u", "k"), SwiftUser("b", "v", "l", (".admin", "x"))),
            rate_limit_segments=True,
            constraints={"max_file_size": "5"},
            slo={"max_manifest_segments": "6"},
            policies=("gold", "silver"),
            keystone=KeystoneService("http://k", "swift", "secret", "service"),
            keystone_port=2,
            wrap=("a:b", "c:d"),
        )

        assert parse_arguments([*format_arguments(options), "/tmp"]).options == options

    def test_a_password_is_not_shown(self):
        assert "secret" not in repr(KeystoneService("http://k", "swift", "secret", "service"))

    @pytest.mark.parametrize("name", ["", "a_b", "a:b", "a b"])
    def test_names_that_tempauth_cannot_take_are_refused(self, name):
        with pytest.raises(OptionsError):
            SwiftUser(name, "user", "key")

    def test_there_is_always_a_user(self):
        with pytest.raises(OptionsError):
            SwiftOptions(users=())

    def test_there_is_always_a_policy(self):
        with pytest.raises(OptionsError):
            SwiftOptions(policies=())
