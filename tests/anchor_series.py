"""A wing in one file: anchors of a series, whose predicates are its segments, with their mean for an absent one.

Nothing of it is part of the package. `torch_anchors.explainer.Explainer` names the four methods that it adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_anchors.engine.job import Case
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.runner import Finished
from torch_anchors.explainer import Explainer
from torch_anchors.explanation import Explanation
from torch_anchors.perturb.mask_sampler import MaskSampler
from torch_anchors.search.protocol import SearchSpace
from torch_anchors.seeds import stream
from torch_anchors.settings import NO_SETTING, ExplainSettings, ManyQuestion, OneQuestion, takes
from torch_anchors.words import listed


@dataclass(frozen=True)
class _OneSeries:
    """What `AnchorSeries.explain` takes first.

    Args:
        series: numbers (steps,).
    """

    series: Any = field(metadata=NO_SETTING)


@dataclass(frozen=True)
class SeriesQuestion(OneQuestion, _OneSeries):
    """The parameters of `AnchorSeries.explain`."""


@dataclass(frozen=True)
class ManySeriesQuestion(ManyQuestion, _OneSeries):
    """The parameters of `AnchorSeries.explain_batch` and `AnchorSeries.explain_iter`."""


class SeriesSampler(MaskSampler):
    """Perturbed copies of one series: each segment is shown, or flat at its mean."""

    def __init__(self, series: Tensor, n_segments: int, **settings: Any) -> None:
        super().__init__(n_segments, **settings)
        self.segments = torch.arange(len(series), device=self.device) * n_segments // len(series)
        self.series = series.to(self.device)
        means = torch.stack([self.series[self.segments == k].mean() for k in range(n_segments)])
        self.flat = means[self.segments]

    def row_shape(self) -> tuple[int, ...]:
        return tuple(self.series.shape)

    def render(self, codes: Tensor, out: Tensor | None = None) -> Tensor:
        shown = self.shown(codes.to(self.device))[:, self.segments]
        rows = torch.where(shown, self.series, self.flat)
        return rows if out is None else out.copy_(rows)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SeriesExplanation(Explanation):
    """Segments of a series that, while they are shown, keep the model's label."""

    def __str__(self) -> str:
        return f"While {listed(self.names)} stay, the model answers {self.label_words}: {self._precision_words()}."


class AnchorSeries(Explainer[Case, SeriesExplanation]):
    """Explains a classifier of series."""

    unit = "sequence"

    def __init__(self, predictor: Callable[[Tensor], Tensor], n_segments: int, seed: int | None = None) -> None:
        self.n_segments = n_segments
        params = {"n_segments": n_segments}
        super().__init__(predictor, wrap=partial(Predictor), max_rows="auto", seed=seed, params=params)

    @takes(SeriesQuestion)
    def explain(self, question: SeriesQuestion) -> SeriesExplanation:
        """The explanation of one series."""
        return self.explain_one(question.series, question)

    @takes(ManySeriesQuestion)
    def explain_batch(self, question: ManySeriesQuestion) -> list[SeriesExplanation]:
        """The explanations of several series."""
        return self.explain_many(question.series, question)

    @takes(ManySeriesQuestion)
    def explain_iter(self, question: ManySeriesQuestion) -> Iterator[SeriesExplanation]:
        """The explanations of several series, each as soon as it is ready."""
        return self.explain_each(question.series, question)

    def instances(self, given: Any) -> tuple[Iterable[Any], int | None]:
        return given, len(given) if hasattr(given, "__len__") else None

    def cases(self, instances: Sequence[Any], question: ExplainSettings) -> list[Case]:
        made = []
        for series in instances:
            sampler = SeriesSampler(torch.as_tensor(series), self.n_segments, device=self._predictor.device)
            made.append(Case(sampler=sampler, rng=stream(self._seed, np.asarray(series).tobytes())))
        return made

    def spaces(self, cases: Sequence[Any], labels: Sequence[int | None], settings: Any) -> list[SearchSpace]:
        return [case.sampler.space() for case in cases]

    def explanations(self, finished: Sequence[Finished], settings: ExplainSettings) -> Iterator[SeriesExplanation]:
        for one in finished:
            steps = [np.flatnonzero(one.case.sampler.segments.cpu() == k) for k in one.found.result.anchor]
            names = tuple(f"steps {own[0]} to {own[-1]}" for own in steps)
            yield SeriesExplanation(**self.common(one, settings), names=names)
