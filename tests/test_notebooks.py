"""The notebooks are stored with what they show, and a run shows the same."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from PIL import Image

from tests.notebook_outputs import NOTEBOOKS, made_with, run, smaller

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
MOST_LINES = 39
MOST_BYTES = 300_000

MACHINES = r"/(?:home|root|tmp|work|usr|Users|var)/|[A-Z]:\\|0x[0-9a-f]{6}"
TIMES = r"\d (?:s|ms|seconds|minutes)\b|\d it/s|\d\d:\d\d"


def stored(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in code(notebook) for output in cell.outputs]


def texts(output: NotebookNode) -> list[str]:
    """What an output says, in each of its forms; of a picture only that it is one."""
    data = output.get("data", {"stream": output.get("text", "")})
    return ["image/png"] if "image/png" in data else [f"{name}\n{data[name]}" for name in sorted(data)]


def shown(notebook: NotebookNode) -> list[list[str]]:
    """What each cell with code shows."""
    return [[text for output in cell.outputs for text in texts(output)] for cell in code(notebook)]


def without_numbers(told: list[list[str]]) -> list[list[str]]:
    return [[re.sub(r"\d[\d.,e-]*", "#", " ".join(text.split())) for text in own] for own in told]


def test_the_questions_are_all_there() -> None:
    assert [path.stem for path in PATHS] == ["another_question", "data_set", "image", "tabular", "trust"]


@EACH
def test_every_cell_was_run_and_none_failed_or_warned(path: Path) -> None:
    notebook = stored(path)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    kinds = {output.output_type for output in outputs(notebook)}
    assert kinds <= {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]


@EACH
def test_what_plots_shows_a_picture_with_something_on_it(path: Path) -> None:
    plotting = [cell for cell in code(stored(path)) if ".plot(" in cell.source]
    assert plotting
    for cell in plotting:
        pictures = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
        assert len(pictures) == 1, cell.source
        picture = Image.open(io.BytesIO(base64.b64decode(pictures[0]))).convert("L")
        low, high = picture.getextrema()
        assert picture.width > 600
        assert high - low > 200


@EACH
def test_nothing_of_a_time_or_a_machine_is_stored(path: Path) -> None:
    told = "\n".join(text for own in shown(stored(path)) for text in own)
    assert told
    assert not re.search(MACHINES, told)
    assert not re.search(TIMES, told)


@EACH
def test_the_code_is_short_and_the_file_small(path: Path) -> None:
    lines = [line for cell in code(stored(path)) for line in cell.source.split("\n") if line.strip()]
    assert len(lines) <= MOST_LINES
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of Jupyter's own
@pytest.mark.slow
@EACH
def test_a_run_shows_what_is_stored(path: Path) -> None:
    """To the letter with the versions that it is stored from; with others, and on other processors, but for numbers."""
    before, now = stored(path), run(path)
    assert without_numbers(shown(now)) == without_numbers(shown(before))
    if before.metadata.made_with == made_with():
        assert shown(now) == shown(before)


def test_a_picture_becomes_smaller_and_looks_the_same() -> None:
    file = io.BytesIO()
    drawn = Image.linear_gradient("L").convert("RGB")
    drawn.save(file, format="PNG", compress_level=0)
    before = base64.b64encode(file.getvalue()).decode()
    after = smaller(before)
    assert len(after) < len(before) / 10
    again = Image.open(io.BytesIO(base64.b64decode(after))).convert("RGB")
    difference = max(abs(a - b) for a, b in zip(again.tobytes(), drawn.tobytes(), strict=True))
    assert difference <= 8
