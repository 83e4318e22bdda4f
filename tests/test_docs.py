"""The documentation is complete, and what its pages show is true. (`mkdocs build --strict` checks links and names.)"""

from __future__ import annotations

import contextlib
import io
import itertools
import pydoc
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import torch_anchors

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SLOW = ("evaluate.md", "getting_started.md")
"""Pages with a real network on several photographs."""
ELSEWHERE = ("ray.md",)
"""Pages with a test of their own: `tests/integrations/test_ray.py`, which starts Ray where that is installed."""
OF_OTHERS = ("migrating.md",)
"""Pages that show code of other libraries, as ``py``, which is not run."""
LONG = 7
"""Words of a sentence that is not on two pages by chance."""
REFERENCE = "\n".join(page.read_text() for page in sorted((DOCS / "reference").glob("*.md")))


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def documented() -> list[str]:
    """What the pages of the reference describe, by dotted names."""
    return re.findall(r"^::: (\S+)$", REFERENCE, flags=re.MULTILINE)


def blocks(page: Path, opening: str) -> list[tuple[int, list[str]]]:
    """The fenced blocks of a page that begin with a line `opening`: number of the first line, from 0, and the lines."""
    found: list[tuple[int, list[str]]] = []
    fence = ""
    for number, line in enumerate(page.read_text().split("\n")):
        if fence and line == "```":
            fence = ""
        elif fence == opening:
            found[-1][1].append(line)
        elif not fence and line.startswith("```"):
            fence = line
            if fence == opening:
                found.append((number + 1, []))
    return found


def code_of(page: Path) -> str:
    """All Python of a page, with every line at its own number, so that an error names the line of the page."""
    lines = [""] * len(page.read_text().split("\n"))
    for first, own in blocks(page, "```python"):
        lines[first : first + len(own)] = own
    return "\n".join(lines)


def said_by(page: Path) -> list[str]:
    """What a page says that its Python prints."""
    return [line for _, own in blocks(page, '```text title="prints"') for line in own]


def test_every_public_name_is_in_the_reference_exactly_once() -> None:
    prefix = torch_anchors.__name__ + "."
    of_package = [name.removeprefix(prefix) for name in documented() if name.count(".") == 1]
    names = [name for name in of_package if name != "plots"]
    assert sorted(names) == sorted(torch_anchors.__all__)
    for name in ("torch_anchors.models.load_image_model", "torch_anchors.plots"):
        assert documented().count(name) == 1


def test_nothing_is_documented_twice_and_all_of_it_exists() -> None:
    assert len(documented()) == len(set(documented()))
    for name in documented():
        assert pydoc.locate(name) is not None, name


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2].partition("\n\n")[0]
    entries = re.findall(r": (\S+\.md)$", navigation, flags=re.MULTILINE)
    assert sorted(entries) == sorted(map(name_of, PAGES))


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """A module to run a page in: dataclasses and pickle look their own up by its name."""
    made = types.ModuleType("page_of_the_documentation")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


@pytest.fixture
def _searches() -> Iterator[None]:
    """Pages may register a search."""
    from torch_anchors.search.choose import SEARCHES

    before = dict(SEARCHES)
    yield
    SEARCHES.clear()
    SEARCHES.update(before)


def with_code() -> list[object]:
    """The pages that have Python, as cases of a test."""
    pages = [page for page in PAGES if blocks(page, "```python") and name_of(page) not in ELSEWHERE]
    slow = {name: [pytest.mark.slow] for name in SLOW}
    return [pytest.param(page, marks=slow.get(name_of(page), []), id=name_of(page)) for page in pages]


@pytest.mark.usefixtures("_searches")
@pytest.mark.parametrize("page", with_code())
def test_what_a_page_shows_runs_and_prints_what_it_says(
    page: Path, module: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks one after the other, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code_of(page), str(page), "exec", dont_inherit=True), vars(module))
    assert said_by(page), "a page shows what comes out"
    assert printed.getvalue().splitlines() == said_by(page)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_python_of_a_page_escapes_being_run(page: Path) -> None:
    """Blocks are found where a line begins with their fence; other names of the language are for code of others."""
    fences = re.findall(r"^([ \t]*)```(py\w*)", page.read_text(), flags=re.MULTILINE)
    languages = {"python", "py"} if name_of(page) in OF_OTHERS else {"python"}
    assert all(not indent and language in languages for indent, language in fences)


def sentences(page: Path) -> set[str]:
    """The longer sentences of a page's own text, without its code, its tables and its marks."""
    prose = re.sub(r"^```.*?^```", "\n\n", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = (re.sub(r"^[-*>#\d. ]+", "", line) if line[:1] != "|" else "" for line in prose.split("\n"))
    said = re.split(r"(?<=[.:;!?])\s+|\n\n", "\n".join(lines))
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", sentence) for sentence in said)
    return {" ".join(sentence.split()) for sentence in plain if len(sentence.split()) > LONG}


def test_no_sentence_is_on_two_pages() -> None:
    """What two pages need to say, one says, and the other links to it."""
    of_page = {name_of(page): sentences(page) for page in PAGES}
    assert len(of_page["certified.md"]) > 50
    for first, second in itertools.combinations(of_page, 2):
        assert not of_page[first] & of_page[second], f"{first} and {second}"


@pytest.mark.slow
def test_what_the_readme_shows_runs(module: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks one after the other, as a reader would try them."""
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(code_of(ROOT / "README.md"), "README.md", "exec", dont_inherit=True), vars(module))
    assert "the model answers espresso with precision" in printed.getvalue()
    assert "the model answers malignant with precision at least" in printed.getvalue()
    assert {path.name for path in tmp_path.iterdir()} == {"coffee.png", "all.png"}


def test_the_walk_through_a_modality_is_the_whole_of_its_file() -> None:
    code = [line for _, own in blocks(DOCS / "extend" / "modality.md", "```python") for line in own if line]
    source = [line for line in (ROOT / "tests" / "anchor_series.py").read_text().split("\n") if line]
    start = source.index(code[0])
    assert code[: len(source) - start] == source[start:]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md", "docs/certified.md"])
def test_every_file_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"`((?:torch_anchors|tests|docs|notebooks)/[\w/.]*)`", (ROOT / page).read_text()))
    assert named
    for path in sorted(named):
        assert (ROOT / path).exists(), path


def test_every_part_of_the_house_is_on_the_page_about_it() -> None:
    page = (DOCS / "architecture.md").read_text()
    package = Path(torch_anchors.__file__).parent
    parts = [path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    for part in parts:
        assert part.startswith("_") or f"`{part}`" in page, part
