"""What is given with `-o`."""

from __future__ import annotations

import contextlib

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.config.glance_options import GLANCE_OPTIONS
from swiftimgfs.config.mount_words import REFUSED
from swiftimgfs.config.options import OPTIONS
from swiftimgfs.config.settings import Settings, parse_options
from swiftimgfs.errors import ConfigError
from tests.support.sources import KEY


def refusal_of_option(text: str) -> str:
    """Return why an argument of `-o` is refused."""
    with pytest.raises(ConfigError) as caught:
        parse_options([text])
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (",, ,", {}),
        ("ro", {"ro": True}),
        ("ro=false,show_segments=1", {"ro": False, "show_segments": True}),
        (" ro , timeout=5", {"ro": True, "timeout": 5.0}),
        ("timeout=5,timeout=6.5", {"timeout": 6.5}),
        ("segment_size=1m,memory_limit=1GiB", {"segment_size": 1 << 20, "memory_limit": 1 << 30}),
        ("large_object_size=7", {"large_object_size": 7}),
        ("swift_store_large_object_size=7", {"swift_store_large_object_size": 7}),
        ("large_object_chunk_size=7", {"swift_store_large_object_chunk_size": 7}),
        ("region=a,endpoint_type=adminURL",
         {"swift_store_region": "a", "swift_store_endpoint_type": "adminURL"}),
        ("buffer_on_upload", {"swift_buffer_on_upload": True}),
        ("default_swift_reference=r", {"default_swift_reference": "r"}),
        (r"log_file=/a\,b=c,ro", {"log_file": "/a,b=c", "ro": True}),
        (r"container=\,", {"swift_store_container": ","}),
        ("region=$x", {"swift_store_region": "$x"}),
        ("admin_tenants=a:b", {"swift_store_admin_tenants": ["a", "b"]}),
        (r"swift_store_admin_tenants=a\,b", {"swift_store_admin_tenants": ["a", "b"]}),
        ("admin_tenants=", {"swift_store_admin_tenants": []}),
        ("ro,rw", {"ro": False}),
        ("noexec,exec,rw,ro", {"noexec": False, "ro": True}),
        ("umask=022,uid=0,gid=4294967294", {"umask": 0o22, "uid": 0, "gid": 2**32 - 2}),
        ("umask=0077", {"umask": 0o77}),
        ("attr_timeout=0,list_timeout=0.5", {"attr_timeout": 0.0, "list_timeout": 0.5}),
    ],
)  # fmt: skip
def test_options_are_given_by_either_name_and_separated_by_commas(text, expected):
    assert parse_options([text]) == expected


def test_of_several_arguments_the_last_wins():
    assert parse_options(["ro,retries=2", "retries=3"]) == {"ro": True, "retries": 3}


@pytest.mark.parametrize("name", [o.name for o in GLANCE_OPTIONS if o.secret])
@pytest.mark.parametrize("text", ["{}=" + KEY, "{}", "ro,{}=" + KEY + ",ro"])
def test_no_secret_is_taken_from_the_command_line_or_repeated(name, text):
    for given in (name, name.removeprefix("swift_store_")):
        message = refusal_of_option(text.format(given))

        assert message.startswith(f"option {given}: everybody on this host can read")
        assert KEY not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rw=1", "unknown option 'rw' (see swiftimgfs mount --help)"),
        ("ro,sync", f"option sync: {REFUSED['sync']}"),
        ("allow_root", "option allow_root: root is let in by allow_other"),
        ("max_read=4096", "option max_read: requests are as large as the kernel makes them"),
        ("regoin=a", "unknown option 'regoin' (did you mean region?)"),
        ("=", "unknown option '' (see swiftimgfs mount --help)"),
        ("RO", "unknown option 'RO' (see swiftimgfs mount --help)"),
        ("timeout", "option timeout needs a value: timeout=…"),
        ("container", "option container needs a value: container=…"),
        ("timeout=", "option timeout=: not a number of seconds"),
        ("retries=0", "option retries=0: not a whole number from 1 on"),
        ("ro=2", "option ro=2: Unexpected boolean value '2'"),
        ("segment_size=4095", "option segment_size=4095: at least 4K"),
        ("large_object_size=0", "option large_object_size=0: at least 1"),
        ("umask=8", "option umask=8: not three octal digits"),
        ("gid=-1", "option gid=-1: not a whole number from 0 to 4294967294"),
        ("multiple_containers_seed=33",
         "option multiple_containers_seed=33: Should be less than or equal to 32"),
        ("auth_version=2", "option auth_version=2: Valid values are [3], but found '2'"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_by_name(text, message):
    assert refusal_of_option(text) == message


@hypothesis.given(
    st.sampled_from([o.name for o in (*OPTIONS, *GLANCE_OPTIONS)]) | st.text(max_size=5),
    st.text(max_size=20) | st.from_regex(r"\d{1,3}[kK\u212a]?b?"),
)
def test_no_argument_at_all_fails_otherwise_than_with_a_clear_refusal(name, value):
    with contextlib.suppress(ConfigError):
        given = parse_options([f"{name}={value}"])
        assert set(given) <= set(Settings.of().values)
