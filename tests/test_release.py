"""What is published: one version everywhere, and a source distribution in which the tests can run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MADE = (".git", ".hypothesis", "__pycache__", ".*_cache", "*.egg-info", "build", "dist", "site")
"""What may lie in the folder beside the project's own files, where no git tells them apart."""


def version() -> str:
    (found,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    return str(found)


def test_the_changelog_begins_with_this_version_or_with_what_is_not_released() -> None:
    heading = r"^## \[?([^\]\s]+)\]?(?: \((\d{4}-\d\d-\d\d)\))?$"
    headings = re.findall(heading, (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings, "a heading is such as: ## [0.2.0] (2026-11-28)"
    assert headings[0][0] in (version(), "Unreleased")
    assert all(date for name, date in headings if name != "Unreleased")


def test_who_cites_it_cites_this_version() -> None:
    assert f"version: {version()}\n" in (ROOT / "CITATION.cff").read_text()


def copied(folder: Path) -> set[str]:
    """The project's files, copied to a folder, by their paths in it."""
    if not (ROOT / ".git").exists():
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*MADE))
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(command, cwd=ROOT, text=True).split("\0")
    names = {name for name in listed if name and (ROOT / name).is_file()}
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return names


def test_every_file_is_in_the_source_distribution(tmp_path: Path) -> None:
    pytest.importorskip("setuptools.build_meta")
    project = tmp_path / "project"
    names = copied(project)
    build = "from setuptools.build_meta import build_sdist; build_sdist('made')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build], cwd=project, check=True, capture_output=True)
    (archive,) = (project / "made").iterdir()
    assert archive.name == f"torch_anchors-{version()}.tar.gz"
    with tarfile.open(archive) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    assert not names - packed
