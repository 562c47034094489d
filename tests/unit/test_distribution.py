"""The sdist and the wheel have what they should, and what is installed from them runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def build(source: Path, kind: str, to: Path) -> Path:
    """Build as pip does, with the backend that is installed here."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(to)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (made,) = to.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the sdist, as pip makes one: what the sdist lacks, it lacks."""
    directory = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    return build(directory / f"swiftimgfs-{VERSION}", "wheel", directory / "dist")


def test_the_sdist_has_all_that_git_has_but_what_is_for_git(sdist: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = set(listed.stdout.splitlines())
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}

    assert tracked, "tests of a checkout"
    assert {path for path in tracked - packed if not path.startswith(".")} == set()
    assert {path for path in packed if path.startswith((".venv", "dist"))} == set()


def test_the_wheel_has_modules_man_pages_and_completions_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    data = f"swiftimgfs-{VERSION}.data/data/share"

    assert "swiftimgfs/cli.py" in names
    assert f"{data}/man/man1/swiftimgfs-mount.1" in names
    assert f"{data}/man/man8/mount.swiftimgfs.8" in names
    assert f"{data}/bash-completion/completions/swiftimgfs" in names
    assert not [name for name in names if name.startswith(("tests/", "contrib/"))]


def test_what_the_wheel_installs_runs(wheel: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, f"--target={tmp_path}", wheel], check=True, timeout=120)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    program = "import swiftimgfs, sys; print(swiftimgfs.__file__); from swiftimgfs import {}"

    for arguments in (["swiftimgfs", "--version"], ["mount.swiftimgfs", "--help"]):
        done = subprocess.run(
            [tmp_path / "bin" / arguments[0], *arguments[1:]],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert arguments[0] in done.stdout
    where = subprocess.run(
        [sys.executable, "-P", "-c", program.format("cli")],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(tmp_path)), "not the checkout's"


def installed_documents(directory: Path) -> Path:
    """Lay the documents out as dh_installdocs does by the list of the Debian package."""
    listed = (ROOT / "contrib" / "debian" / "swiftimgfs.docs").read_text().split()
    for name in listed:
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, directory / path.name)
    return directory


def unpacked(sdist: Path, directory: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    return directory / f"swiftimgfs-{VERSION}"


@pytest.mark.parametrize("kind", ["deb", "sdist"])
def test_links_between_documents_lead_somewhere(kind: str, sdist: Path, tmp_path: Path) -> None:
    where = installed_documents(tmp_path) if kind == "deb" else unpacked(sdist, tmp_path)
    pages = [*where.glob("*.md"), *where.glob("docs/*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        if "://" not in link
    ]

    assert len(links) > 30
    assert [f"{page.name}: {link}" for page, link in links if not leads(page, link)] == []


def leads(page: Path, link: str) -> bool:
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page
    return target.is_file() and (not heading or heading in anchors(target))


def anchors(page: Path) -> set[str]:
    """Return what GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_unit_names_a_document_that_the_package_installs(tmp_path: Path) -> None:
    unit = (ROOT / "contrib" / "systemd" / "swiftimgfs@.service").read_text()
    (name,) = re.findall(r"/usr/share/doc/swiftimgfs/([\w./]+\w)", unit)

    assert "\n## systemd\n" in (installed_documents(tmp_path) / name).read_text()


def test_the_version_is_told_in_one_place() -> None:
    said = re.compile(rf"\b{re.escape(VERSION)}\b")
    elsewhere = [
        path
        for folder in ("swiftimgfs", "contrib/debian", "contrib/systemd")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and said.search(path.read_text())
    ]

    assert elsewhere == []
    assert f"\n## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()
