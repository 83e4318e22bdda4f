"""A new kind of instance is one file: `tests/anchor_series.py` goes through the same spine. So is a new search."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.anchor_series import AnchorSeries, SeriesExplanation
from torch_anchors import AnchorImage, ArgumentError, Status
from torch_anchors.search import choose
from torch_anchors.search.protocol import SampleRequest, Search, SearchConfig, SearchResult, SearchSpace

LENGTH, SEGMENTS = 60, 12


class Peaks(nn.Module):
    """1 where the third and the eighth twelfth of the series both keep their peak."""

    def forward(self, rows: Tensor) -> Tensor:
        return torch.stack([torch.ones(len(rows)), 2.0 * ((rows[:, 12] > 3) & (rows[:, 37] > 3))], dim=1)


def series_of(number: int) -> np.ndarray:
    series = np.random.default_rng(number).normal(size=LENGTH).astype(np.float32)
    series[[12, 37]] = 9.0
    return series


@pytest.fixture
def explainer() -> AnchorSeries:
    return AnchorSeries(Peaks(), SEGMENTS, seed=0)


def outcome(explanation: SeriesExplanation) -> tuple:
    return explanation.features, explanation.precision, explanation.precision_interval, explanation.n_rows


def test_it_is_one_short_file() -> None:
    lines = (Path(__file__).parent / "anchor_series.py").read_text().splitlines()
    assert len(lines) <= 120


@pytest.mark.parametrize("method", ["auto", "beam", "exact"])
def test_it_finds_and_certifies_the_planted_anchor(explainer: AnchorSeries, method: str) -> None:
    explanation = explainer.explain(series_of(0), method=method)
    assert explanation.features == (2, 7)
    assert explanation.status is (Status.EXACT if method == "exact" else Status.CERTIFIED)
    assert explanation.names == ("steps 10 to 14", "steps 35 to 39")
    assert "steps 10 to 14 and steps 35 to 39" in str(explanation)


def test_alone_together_and_streamed_are_the_same(explainer: AnchorSeries) -> None:
    many = [series_of(number) for number in range(9)]
    alone = [outcome(explainer.explain(series)) for series in many]
    assert [outcome(one) for one in explainer.explain_batch(many)] == alone
    stream = explainer.explain_iter(iter(many), n_workers=2)
    assert isinstance(stream, Iterator)
    assert [outcome(one) for one in stream] == alone


def test_it_has_the_progress_bar_and_the_settings_of_all(
    explainer: AnchorSeries, capsys: pytest.CaptureFixture[str]
) -> None:
    explainer.explain_batch([series_of(1)], progress=True, verbose=True)
    shown = capsys.readouterr().err
    assert "sequences/s" in shown or "s/sequences" in shown
    assert "1/1" in shown
    assert "round 1" in shown
    assert list(inspect.signature(AnchorSeries.explain).parameters)[:3] == ["self", "series", "threshold"]
    with pytest.raises(ArgumentError, match="threshold"):
        explainer.explain(series_of(1), threshold=7.0)


def test_it_pickles_and_copies(explainer: AnchorSeries) -> None:
    explanation = explainer.explain(series_of(2))
    for made in (pickle.loads(pickle.dumps(explainer)), copy.deepcopy(explainer)):
        assert outcome(made.explain(series_of(2))) == outcome(explanation)
    assert outcome(pickle.loads(pickle.dumps(explanation))) == outcome(explanation)


def test_a_series_of_nan_is_refused_like_an_image(explainer: AnchorSeries) -> None:
    def unsure(rows: Tensor) -> Tensor:
        return torch.full((len(rows), 2), torch.nan)

    explainer.reset_predictor(unsure)
    with pytest.raises(TypeError, match=r"NaN for the sequence itself.*was sequence number 0 of those given"):
        explainer.explain_batch([series_of(3)])


# ---------------------------------------------------------------------------------------------------- a new search


def first_half(space: SearchSpace, config: SearchConfig) -> Search:
    """Looks at one anchor only: the first half of the predicates."""
    anchor = tuple(range(space.n_predicates // 2))
    (reply,) = yield (SampleRequest(anchor, config.batch_size),)
    precision = reply.n_hits / reply.n
    return SearchResult(anchor, precision, (0.0, 1.0), space.coverage(anchor), Status.NOT_FOUND, reply.n, reply.n_hits)


@pytest.fixture
def registered() -> Iterator[None]:
    choose.register("first_half", first_half)
    yield
    del choose.SEARCHES["first_half"]


@pytest.mark.usefixtures("registered")
def test_a_new_search_is_asked_for_by_its_name(explainer: AnchorSeries) -> None:
    explanation = explainer.explain(series_of(4), method="first_half")
    assert explanation.features == (0, 1, 2, 3, 4, 5)
    assert 0.3 < explanation.precision < 0.7  # of two peaks one is in the second half
    image = AnchorImage(lambda rows: (rows[:, 0, 0, 0] > 0.5).long(), segmentation_fn="grid", seed=0, fill=0.0)
    assert image.explain(torch.ones(3, 8, 8), method="first_half").features == tuple(range(8))


def test_without_registration_there_is_no_such_search(explainer: AnchorSeries) -> None:
    expected = "method must be one of 'auto', 'beam', 'guided', 'coarse_to_fine', 'exact', 'race', got 'first_half'"
    with pytest.raises(ArgumentError, match=expected):
        explainer.explain(series_of(4), method="first_half")
