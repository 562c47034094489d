"""What the options of writing make of a mount: sizes as Glance has them, digests, signatures."""

from __future__ import annotations

import pytest

from swiftimgfs.config.load import load_config
from swiftimgfs.errors import ConfigError
from swiftimgfs.writing.options import LargeObject

GLANCE_MB = 1_024_000


def loaded(*options: str):
    return load_config("env:", "/mnt", options)


def test_large_images_are_slos_unless_somebody_wants_glances():
    writing = loaded("large_object_chunk_size=7").writing

    assert writing.large_object is LargeObject.SLO
    assert (writing.segment_size, writing.large_object_size) == (64 << 20, 64 << 20)


def test_glances_sizes_are_in_glances_unit():
    writing = loaded("large_object=glance").writing
    assert writing.large_object is LargeObject.GLANCE
    assert writing.segment_size == 200 * GLANCE_MB == 204_800_000
    assert writing.large_object_size == 5120 * GLANCE_MB == 5_242_880_000

    options = "large_object_chunk_size=3,swift_store_large_object_size=7,segment_size=1M"
    writing = loaded(f"large_object=glance,{options},large_object_size=2M").writing
    assert (writing.segment_size, writing.large_object_size) == (3 * GLANCE_MB, 7 * GLANCE_MB)


@pytest.mark.parametrize(
    ("options", "algorithm"),
    [
        ("", "sha256"),
        ("hashing_algo=sha512", "sha512"),
        ("hashing_algo=none", None),
        ("large_object=glance", None),  # whose driver stores none
        ("large_object=glance,hashing_algo=md5", None),
    ],
)
def test_which_digest_is_stored(options, algorithm):
    assert loaded(options).watching.hashing_algo == algorithm


@pytest.mark.parametrize("algorithm", ["shake_128", "crc32", "SHA-256", ""])
def test_what_is_no_digest_of_one_length_is_refused(algorithm):
    with pytest.raises(ConfigError, match="hashing_algo"):
        loaded(f"hashing_algo={algorithm}")


def test_certificates_are_in_a_directory_wherever_the_mount_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()

    assert loaded("signature_certificates=here").watching.certificates == tmp_path / "here"
    assert loaded().watching.certificates is None
    with pytest.raises(ConfigError, match=r"/nowhere: no such directory"):
        loaded("signature_certificates=nowhere")
