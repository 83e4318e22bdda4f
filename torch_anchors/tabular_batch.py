"""Some rows of a table on their way to explanations: what is searched for each, and what is made of the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors import batching
from torch_anchors._shapes import Float, Int
from torch_anchors.engine.conjunctions import best_rules
from torch_anchors.engine.job import Job
from torch_anchors.engine.labelled_table import LabelledTable, labels_of
from torch_anchors.engine.predictor import INVALID, Predictor
from torch_anchors.engine.proposals import Proposals, Proposer
from torch_anchors.errors import PredictorReturnTypeError
from torch_anchors.perturb.tabular import TabularPerturbations
from torch_anchors.perturb.training import TrainingRows
from torch_anchors.rule import Rule
from torch_anchors.search.beam import beam_search
from torch_anchors.search.narrate import narrated
from torch_anchors.search.protocol import Anchor, Search, SearchResult, SearchSpace, Status, Step
from torch_anchors.search.ranked import ranked_search
from torch_anchors.settings import ExplainSettings
from torch_anchors.table import TableSchema
from torch_anchors.tabular_explanation import EncodedExamples, TabularExplanation

MAX_COUNTED = 3
"""Most conditions of a rule that is found by counting, unless `max_anchor_size` says."""
LABELLED_AT_ONCE = 4096
"""Rows of a pass whose only purpose is labels, unless `max_rows` says."""


@dataclass(frozen=True, slots=True)
class Model:
    """The explained model, its labels of the training rows, and how rows reach it; make one with `Model.of`."""

    predictor: Predictor
    schema: TableSchema
    table: LabelledTable
    render: Callable[[Tensor], Tensor]
    max_rows: int

    @classmethod
    def of(cls, predictor: Predictor, schema: TableSchema, training: TrainingRows, max_rows: int | str) -> Model:
        """The model, having labelled the training rows."""
        encode, dtype = schema.encoder(predictor.device), row_dtype(predictor)

        def render(codes: Tensor) -> Tensor:
            return encode(codes).to(dtype)

        n = max_rows if isinstance(max_rows, int) else LABELLED_AT_ONCE
        table = LabelledTable(training, labels_of(predictor, render, training.values, n))
        return cls(predictor, schema, table, render, n)

    def labels(self, rows: Float[np.ndarray, "rows columns"]) -> Int[np.ndarray, " rows"]:
        """The model's labels of encoded rows."""
        values = self.table.training.values
        codes = torch.as_tensor(rows, dtype=values.dtype, device=values.device)
        return labels_of(self.predictor, self.render, codes, self.max_rows).cpu().numpy()

    def labels_of_table(self, X: Any) -> Int[np.ndarray, " rows"]:
        """The model's labels of a user's table."""
        return self.labels(self.schema.encode(X))


def row_dtype(predictor: Predictor) -> torch.dtype:
    """Type of the rows that the predictor takes; of the tensors they are made of, if it takes arrays."""
    dtype = predictor.dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.from_numpy(np.zeros(0, dtype=dtype)).dtype


class RowBatch:
    """Rows that are explained together.

    Args:
        model: the explained model.
        sampler: draws perturbations of the rows.
        settings: of the explanations.
        meta: name and parameters of the explainer.
        first: number of the first row among all those given.
    """

    def __init__(
        self,
        model: Model,
        sampler: TabularPerturbations,
        settings: ExplainSettings,
        meta: dict[str, Any],
        first: int = 0,
    ) -> None:
        self.model, self.sampler, self.settings, self.meta = model, sampler, settings, meta
        self.n = len(sampler.instances)
        if settings.label is None:
            self.labels = model.labels(sampler.instances)
        else:
            self.labels = np.full(self.n, model.predictor.label_of(settings.label))
        invalid = np.flatnonzero(self.labels == INVALID)
        if len(invalid):
            raise PredictorReturnTypeError(
                f"The predictor returned NaN for the row itself (number {first + invalid[0]} of those given, from 0); "
                "there is no label to explain. Leave it out, or pass the label to explain."
            )
        self._classes = model.table.class_of(self.labels)
        self._n_rows = int(settings.label is None)  # spent on each row's own label

    # ------------------------------------------------------------------------------------------------- counting

    def counted(self) -> list[TabularExplanation]:
        """The rule of largest coverage of each row, by counting training rows (`best_rules`)."""
        started = time.perf_counter()
        settings, table = self.settings, self.model.table
        rules = best_rules(
            table.rows,
            self.sampler.predicates,
            self._classes,
            threshold=settings.threshold,
            delta=settings.delta,
            max_size=MAX_COUNTED if settings.max_anchor_size is None else settings.max_anchor_size,
        )
        everyone = list(range(self.n))
        anchors = [rule.anchor for rule in rules]
        paths = self._training_paths(everyone, anchors)
        examples = self._training_examples(everyone, anchors)
        seconds = time.perf_counter() - started
        return [
            self._explanation(
                i,
                _exact_result(rule.anchor, rule.precision, rule.holds, paths[i]),
                paths[i],
                examples[i],
                seconds=seconds,
            )
            for i, rule in enumerate(rules)
        ]

    # ------------------------------------------------------------------------------------------------- sampling

    def jobs(self, proposer: Proposer | None, seed: int) -> Iterator[Job]:
        """A search for each row: among the proposed anchors, or a beam search where there is no proposer."""
        searches = self._beam_searches() if proposer is None else self._ranked_searches(proposer)
        for i, search in enumerate(searches):
            settings = self.settings
            yield Job(
                search=narrated(search, batching.say, settings.verbose_every) if settings.verbose else search,
                sampler=self.sampler,
                rng=batching.stream(seed, self.sampler.instances[i].tobytes()),
                instance=i,
                label=int(self.labels[i]),
                n_examples=settings.n_covered_ex,
                tag=self,
            )

    def explanations(self, jobs: Sequence[Job]) -> Iterator[TabularExplanation]:
        """What finished jobs of this batch found."""
        paths = self._training_paths([job.instance for job in jobs], [job.found[0].anchor for job in jobs])
        for job, path in zip(jobs, paths, strict=True):
            i, (result, found) = job.instance, job.found
            examples = EncodedExamples(found.codes.astype(np.float64), found.labels, found.hits)
            if not len(found.labels):  # no row was drawn to find that the empty anchor holds
                (examples,) = self._training_examples([i], [result.anchor])
            yield self._explanation(
                i, result, path, examples, n_rows=job.n_rows, n_calls=job.n_calls, seconds=job.seconds
            )

    def _ranked_searches(self, proposer: Proposer) -> Iterator[Search]:
        config = self.settings.config(self.sampler.device)
        proposals = proposer.propose(
            self.sampler.predicates,
            self._classes,
            threshold=config.threshold,
            max_anchor_size=config.max_anchor_size,
        )
        sizes = [len(own.guesses) for own in proposals]
        coverages = self._coverages(
            np.repeat(np.arange(self.n), sizes), [anchor for own in proposals for anchor in own.guesses]
        )
        known_to = [
            {(): 1.0, **dict(zip(own.guesses, coverage.tolist(), strict=True))}
            for own, coverage in zip(proposals, np.split(coverages, np.cumsum(sizes)[:-1]), strict=True)
        ]
        empty_precision = self.model.table.shares[self._classes].tolist()
        for i, (proposed, known) in enumerate(zip(proposals, known_to, strict=True)):
            space = SearchSpace(self.sampler.n_predicates(), known.__getitem__)
            shorter = partial(self._shorter, i, proposed, known)
            yield ranked_search(space, config, proposed.guesses, empty_precision[i], shorter)

    def _shorter(
        self, i: int, proposed: Proposals, known: dict[Anchor, float], anchor: Anchor
    ) -> Mapping[Anchor, float]:
        """Row i's anchor with ever fewer conditions and what is expected of them; their coverage becomes `known`."""
        fewer = proposed.shorter(anchor)
        known.update(zip(fewer, self._coverages([i] * len(fewer), list(fewer)).tolist(), strict=True))
        return fewer

    def _beam_searches(self) -> Iterator[Search]:
        config = self.settings.config(self.sampler.device)
        return (beam_search(self._space(i), config) for i in range(self.n))

    def _space(self, i: int) -> SearchSpace:
        """All anchors of row i in which no bound makes another one on its side of a column needless."""
        bins = self.sampler.bins(i, tuple(range(self.sampler.n_predicates())))

        @cache
        def coverage(anchor: Anchor) -> float:
            return float(self._coverages([i], [anchor])[0])

        def compatible(anchor: Anchor, predicate: int) -> bool:
            column, low, high = bins[predicate]
            return not any(bins[p][0] == column and (bins[p][1] == low or bins[p][2] == high) for p in anchor)

        return SearchSpace(len(bins), coverage, compatible=compatible)

    # --------------------------------------------------------------------------------------------------- results

    def _count(self, instances: Sequence[int] | NDArray[np.int64], anchors: Sequence[Anchor]) -> NDArray[np.int64]:
        """Training rows on which each anchor holds, and those of them with its instance's label (anchors, 2)."""
        classes = self._classes[np.asarray(instances, dtype=np.int64)]
        return self.model.table.count(self.sampler.conditions(instances, anchors), classes)

    def _coverages(
        self, instances: Sequence[int] | NDArray[np.int64], anchors: Sequence[Anchor]
    ) -> NDArray[np.float64]:
        """Share of training rows on which each anchor holds."""
        n_covered = self.sampler.n_covered(instances, anchors).cpu().numpy()
        return n_covered / self.model.table.training.index.n_rows

    def _training_paths(self, instances: Sequence[int], anchors: Sequence[Anchor]) -> list[tuple[Step, ...]]:
        """For each anchor, what the training rows say of it as its columns' conditions accumulate."""
        partial_anchors = [self._partial_anchors(i, anchor) for i, anchor in zip(instances, anchors, strict=True)]
        sizes = [len(line) for line in partial_anchors]
        counts = self._count(np.repeat(instances, sizes), [anchor for line in partial_anchors for anchor in line])
        n_rows = self.model.table.training.index.n_rows
        paths = []
        for line, own in zip(partial_anchors, np.split(counts, np.cumsum(sizes)[:-1]), strict=True):
            steps = zip(line, own.tolist(), strict=True)
            paths.append(tuple(Step(a, hits / n if n else 0.0, n / n_rows, n) for a, (n, hits) in steps))
        return paths

    def _training_examples(self, instances: Sequence[int], anchors: Sequence[Anchor]) -> list[EncodedExamples]:
        """For each anchor some training rows on which it holds, with its instance's label and with others."""
        table, conditions = self.model.table, self.sampler.conditions(instances, anchors)
        classes = self._classes[np.asarray(instances, dtype=np.int64)]
        found = table.examples(conditions, classes, table.count(conditions, classes), self.settings.n_covered_ex)
        return [EncodedExamples(*examples) for examples in found]

    def _partial_anchors(self, i: int, anchor: Anchor) -> list[Anchor]:
        """The empty anchor, that of the first column, of the first two columns, and so on to the whole."""
        columns = [column for column, _, _ in self.sampler.bins(i, anchor)]
        found: list[Anchor] = [()]
        for _, group in groupby(zip(anchor, columns, strict=True), key=lambda pair: pair[1]):
            found.append((*found[-1], *(predicate for predicate, _ in group)))
        return found

    def _explanation(
        self,
        i: int,
        result: SearchResult,
        training_path: tuple[Step, ...],
        examples: EncodedExamples,
        *,
        n_rows: int = 0,
        n_calls: int = 0,
        seconds: float,
    ) -> TabularExplanation:
        model, label = self.model, int(self.labels[i])
        instance = self.sampler.instances[i]
        bins = self.sampler.bins(i, result.anchor)
        rule = Rule.from_bins(model.schema, model.table.training.discretizer, bins, instance)
        return TabularExplanation(
            features=result.anchor,
            names=tuple(rule.conditions),
            precision=result.precision,
            precision_interval=result.precision_interval,
            coverage=result.coverage,
            status=result.status,
            label=label,
            label_name=model.predictor.name_of(label),
            threshold=self.settings.threshold,
            delta=self.settings.delta,
            n_rows=n_rows + self._n_rows,
            n_calls=n_calls + self._n_rows,
            seconds=seconds,
            path=result.path,
            meta={**self.meta, "params": {**self.meta["params"], **self.settings.params()}},
            rule=rule,
            instance=instance,
            sampling=self.sampler.sampling,
            training_path=training_path,
            encoded_examples=examples,
            predict=model.labels_of_table,
        )


def _exact_result(anchor: Anchor, precision: float, holds: bool, path: tuple[Step, ...]) -> SearchResult:
    """A counted rule as the result of a search; all its numbers are exact."""
    status = (Status.EXACT if anchor else Status.EMPTY_HOLDS) if holds else Status.NOT_FOUND
    whole = path[-1]
    n_hits = round(precision * whole.n)
    return SearchResult(anchor, precision, (precision, precision), whole.coverage, status, whole.n, n_hits, path)
