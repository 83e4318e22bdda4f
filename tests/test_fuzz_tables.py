"""Random tables, models and settings: alone = together = in another order and batch size, and nothing is changed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.fuzz import FEW, MANY, check_promises, facts, untouched
from torch_anchors import AnchorTabular
from torch_anchors.errors import AnchorsWarning

NAMES = np.array(["low", "middle", "high"])


class Net(nn.Module):
    """Scores that are exact sums, with parts whose mode matters."""

    def __init__(self, seed: int, n_columns: int) -> None:
        super().__init__()
        weights = np.random.default_rng(seed).integers(-3, 4, (n_columns, 3))
        self.drop, self.weights = nn.Dropout(0.5), nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        return self.drop(rows.double().nan_to_num(-2.0)) @ self.weights - torch.arange(3)


def model_of(kind: str, seed: int, n_columns: int) -> Any:
    """A model: the same thought as a module, a function of tensors or of arrays, or one that returns names."""
    net = Net(seed, n_columns).train(seed % 2 == 0)
    if kind == "module":
        return net
    still = Net(seed, n_columns).eval()

    def labels(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return still(rows).argmax(1)

    if kind == "function":
        return labels
    if kind == "names":
        return lambda rows: NAMES[labels(torch.from_numpy(rows)).numpy()]
    return lambda rows: labels(torch.from_numpy(rows)).numpy().astype(float)


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """A table, a model, and settings of explainer and search."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_rows, n_columns = draw(st.sampled_from([1, 2, 30, 200])), draw(st.integers(1, 4))
    columns: dict[Any, Any] = {}
    for number in range(n_columns):
        kind = draw(st.sampled_from(["number", "whole", "constant", "text", "bool", "gaps", "no text"]))
        columns[number if kind == "number" else f"c{number}"] = {
            "number": lambda: rng.normal(size=n_rows).round(2),
            "whole": lambda: rng.integers(-3, 4, n_rows),
            "constant": lambda: np.full(n_rows, 2.5),
            "text": lambda: np.array(["a", "b", "c"], dtype=object)[rng.integers(0, 3, n_rows)],
            "bool": lambda: rng.random(n_rows) < 0.3,
            "gaps": lambda: np.where(rng.random(n_rows) < 0.3, np.nan, rng.normal(size=n_rows).round(1)),
            "no text": lambda: np.array(["a", "b", None], dtype=object)[rng.integers(0, 3, n_rows)],
        }[kind]()
    frame = pd.DataFrame(columns)
    kind = draw(st.sampled_from(["module", "function", "names", "floats"]))
    sampling = draw(st.sampled_from(["interventional", "conditional"]))
    search = {
        "threshold": draw(st.sampled_from([0.6, 0.8, 0.95, 1.0])),
        "delta": draw(st.sampled_from([0.05, 0.1, 0.5])),
        "method": draw(st.sampled_from(["auto", "beam"])),
        "beam_size": draw(st.integers(1, 2)),
        "max_anchor_size": draw(st.sampled_from([None, 1, 2, 1000])),
        "n_covered_ex": draw(st.integers(0, 3)),
        "max_rows_total": draw(st.sampled_from([40, 300])),
        "n_anchors": draw(st.sampled_from([1, 1, 3])),
        "exclude": draw(st.sampled_from([None, None, [0]])),
    }
    return {
        "frame": frame,
        "explained": frame.iloc[rng.integers(0, n_rows, draw(st.integers(1, 4)))],
        "model": model_of(kind, draw(st.integers(0, 50)), n_columns),
        "made": {
            "dtype": np.float32 if kind in ("names", "floats") else torch.float32,
            "sampling": sampling,
            "seed": draw(st.sampled_from([0, 7, 10**30])),
        },
        "disc_perc": draw(st.sampled_from([(25, 50, 75), (50,), ()])),
        "search": search,
        "max_rows": draw(st.sampled_from(["auto", 1, 7, 64])),
    }


def fitted(question: dict[str, Any], max_rows: Any = "auto") -> AnchorTabular:
    explainer = AnchorTabular(question["model"], max_rows=max_rows, **question["made"])
    return explainer.fit(question["frame"], question["disc_perc"])


def check(question: dict[str, Any]) -> None:
    frame, rows, model, search = (question[name] for name in ("frame", "explained", "model", "search"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnchorsWarning)
        with untouched(model, frame, rows):
            together = fitted(question, question["max_rows"]).explain_batch(rows, **search)
            backwards = fitted(question, 16).explain_batch(rows[::-1], **search)[::-1]
            alone = [fitted(question).explain(rows[i : i + 1], **search) for i in range(len(rows))]
    expected = [facts(one) for one in alone]
    assert [facts(one) for one in together] == expected
    assert [facts(one) for one in backwards] == expected
    for i, one in enumerate(together):
        check_promises(one, search["threshold"])
        assert one.n_rows <= search["max_rows_total"]
        assert one.applies(rows[i : i + 1]).all()
        assert one.coverage == pytest.approx(one.coverage_on(frame))
        assert all(isinstance(example.label, type(one.label)) for example in one.examples)


@pytest.mark.usefixtures("unchecked")
@given(questions())
@FEW
def test_tables(question: dict[str, Any]) -> None:
    check(question)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@given(questions())
@MANY
def test_many_tables(question: dict[str, Any]) -> None:
    check(question)
