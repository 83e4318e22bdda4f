"""The one path from instances to explanations, for every kind of instance.

A wing (images, tables, your own) says how its instances are made ready, what is searched, and what an explanation
shows. Everything between is here: seeds and settings, admission ahead of the model, labels that are no labels, order,
progress, interruption.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from torch_anchors._locks import Lock, PerThread
from torch_anchors._shapes import Float
from torch_anchors.delivery import HAND_OUT, Outlet, Progress, Source, ahead, collected, say
from torch_anchors.engine.digest import digest_of
from torch_anchors.engine.job import Case
from torch_anchors.engine.label_function import LabelFunction
from torch_anchors.engine.labels import labels_of
from torch_anchors.engine.max_rows import MaxRows
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.repeats import NotRepeatable
from torch_anchors.engine.runner import Failed, Finished, Load, Runner
from torch_anchors.engine.scores import Scored, probabilities_of_each
from torch_anchors.errors import ArgumentError, PredictorCallError, PredictorReturnTypeError
from torch_anchors.explanation import Explanation
from torch_anchors.explanations import Explanations
from torch_anchors.perturb.protocol import IndependentSampler
from torch_anchors.search.choose import choose
from torch_anchors.search.narrate import narrated
from torch_anchors.search.protocol import NECESSARY, SUFFICIENT, Search, SearchConfig, SearchSpace
from torch_anchors.search.several import several
from torch_anchors.seeds import checked_seed
from torch_anchors.settings import ExplainSettings, ManyQuestion, OneQuestion
from torch_anchors.targets.target import ARGMAX, Argmax, Comparison, Target
from torch_anchors.words import LabelNames

SomeCase = TypeVar("SomeCase", bound=Case)
Explained = TypeVar("Explained", bound=Explanation)

MOST_TARGETS = 8
"""Questions about the model of which an explainer remembers what it learned."""

FEW_NAMES = 20
"""Names of labels that every explanation knows; of more, it knows those of the labels that it shows."""

READERS = 4
"""Threads that make instances ready beside a GPU."""


class Explainer(ABC, Generic[SomeCase, Explained]):
    """What all explainers share; a wing adds the four methods that are abstract here, and its public parameters.

    Args:
        predictor: the model, as the wing's user gave it.
        wrap: makes a `Predictor` of it, and of those that `reset_predictor` is given.
        max_rows: rows of a forward pass; "auto" finds the fastest size during the first batches.
        seed: same seed, same explanation. None draws one from the system.
        params: what `meta` says of the explainer.
    """

    unit: ClassVar[str] = "instance"
    """What a progress bar counts."""
    together: int = 1
    """How many instances are best made ready in one call of `cases`."""
    answers_first: ClassVar[bool] = False
    """Whether `spaces` needs the labels of the instances."""
    first_max_rows: ClassVar[int] = 0
    """The first size of a forward pass that "auto" tries; 0 to choose it by the shape of a row."""

    def __init__(
        self,
        predictor: nn.Module | Callable[[Any], Any],
        *,
        wrap: Callable[[Any], Predictor],
        max_rows: int | str,
        seed: int | None,
        params: dict[str, Any],
    ) -> None:
        self.max_rows = max_rows
        self._seed = checked_seed(seed)
        self._wrap = wrap
        self._latest_label = PerThread()
        self._lock = Lock()
        self.reset_predictor(predictor)
        self.meta: dict[str, Any] = {
            "name": type(self).__name__,
            "type": ["blackbox"],
            "explanations": ["local"],
            "params": {"seed": seed, **params, "max_rows": max_rows},
            "version": version(),
        }

    # ------------------------------------------------------------------------------------------ what a wing adds

    @abstractmethod
    def instances(self, given: Any) -> tuple[Iterable[Any], int | None]:
        """The single instances of what `explain_batch` was given, and how many they are if that is known."""

    @abstractmethod
    def cases(self, instances: Sequence[Any], question: Any) -> list[SomeCase]:
        """Some instances made ready: checked, and each with its sampler and its random stream."""

    @abstractmethod
    def spaces(
        self, cases: Sequence[SomeCase], labels: Sequence[int | None], settings: ExplainSettings
    ) -> Iterable[SearchSpace]:
        """What is searched for each of some cases that were made ready together; labels as `answers_first` says."""

    @abstractmethod
    def explanations(self, finished: Sequence[Finished[SomeCase]], settings: ExplainSettings) -> Iterable[Explained]:
        """The explanation of each of some cases that finished together; see `common`."""

    def hint(self, case: SomeCase) -> str:
        """What about an instance may be the matter where the model gives no answer for it, after a space; or ""."""
        return ""

    def row_of(self, explanation: Explained) -> Tensor | None:
        """The explained instance as the row (1, ...) that a sampler would render; None where a wing cannot tell."""
        return None

    def rows_of(self, instances: Any) -> Tensor:
        """Some instances as rows (N, ...) that the predictor reads; here those of a tensor or an array of such rows."""
        return torch.as_tensor(instances).to(self._predictor.device, self._predictor.row_dtype)

    def predictor_of(self, explanation: Explained) -> Predictor:
        """The predictor as it was asked for this explanation."""
        return self._predictor

    def digests(self) -> dict[str, str]:
        """What else than the settings decides about explanations, by what it is called: the model; a wing adds more."""
        return {"model": digest_of(self._predictor.model, self._predictor.preprocess)}

    # ------------------------------------------------------------------------------------------------ what all do

    @property
    def predictor(self) -> LabelFunction:
        """The explained model as a function of instances that returns their labels; ``predictor.model`` is the model.

        Another model that is assigned to it is explained from then on, as `reset_predictor` does.
        """
        return LabelFunction(self._predictor, self.rows_of)

    @predictor.setter
    def predictor(self, predictor: nn.Module | Callable[[Any], Any]) -> None:
        self.reset_predictor(predictor)

    def reset_predictor(self, predictor: nn.Module | Callable[[Any], Any]) -> None:
        """Explains `predictor` from now on, with all other settings as they are."""
        self._predictor = self._wrap(predictor.model if isinstance(predictor, LabelFunction) else predictor)
        first = self.first_max_rows if isinstance(self.max_rows, str) else 0
        self._max_rows = MaxRows(self.max_rows, n=first, tuning=first > 0)
        self._about: dict[Target, Explainer[SomeCase, Explained]] = {}

    def about(self, target: Target) -> Explainer[SomeCase, Explained]:
        """This explainer, asking something else of its model; what is learned of the answers is kept for next time."""
        if target == self._predictor.target:
            return self
        with self._lock:
            if target not in self._about:
                while len(self._about) >= MOST_TARGETS:
                    del self._about[next(iter(self._about))]
                self._about[target] = self.asking(self._predictor.asking(target))
            return self._about[target]

    def asking(self, predictor: Predictor) -> Explainer[SomeCase, Explained]:
        """This explainer with another view of its model; a wing that keeps what a model said has to leave that out."""
        other = copy.copy(self)
        other._predictor = predictor
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what was learned for other targets, which may be functions that cannot be pickled."""
        return {**self.__dict__, "_about": {}}

    @property
    def class_names(self) -> LabelNames:
        """What the classes are called, as the explainer was told; None where it was not."""
        target = self._predictor.target
        return target.class_names if isinstance(target, Argmax) else None

    @property
    def seed(self) -> int:
        """The seed of all random streams: the one that was given, or that was drawn when the explainer was made."""
        return self._seed

    @property
    def instance_label(self) -> int | str | None:
        """The label of the latest explanation that `explain` gave in this thread; None before the first."""
        label: int | str | None = self._latest_label.value
        return label

    def explain_one(self, instance: Any, question: OneQuestion) -> Explained:
        """The explanation of one instance."""
        (explanation,) = collected(self.about(question.target)._explained([instance], question, total=1, n_workers=0))
        self._latest_label.value = explanation.label
        return explanation

    def explain_many(self, given: Any, question: ManyQuestion) -> Explanations[Explained]:
        """The explanations of many instances, in their order.

        If the work is interrupted, by an error or from the keyboard, all that is finished is the exception's
        ``finished``: explanations by the number of their instance.
        """
        return Explanations(collected(self._explained_many(given, question)))

    def explain_each(self, given: Any, question: ManyQuestion) -> Iterator[Explained]:
        """The explanations of many instances, in their order, each as soon as it and all before it are finished.

        If the work is interrupted, those finished and not handed out are the exception's ``finished``.
        """
        numbered = self._explained_many(given, question)
        return (explanation for _, explanation in numbered)

    def outcomes(self, instances: Iterable[Any], question: ManyQuestion) -> Iterator[tuple[int, Explained | Exception]]:
        """Some single instances by their numbers, in order: the explanation of each, or the error in place of one.

        Args:
            instances: as the wing's `instances` gives them; read in the caller's thread, a little ahead.
            question: its `on_error` is not asked.

        Raises:
            AnchorsError: what is wrong with the question itself, at once.
        """
        explainer = self.about(question.target)
        label = None if question.label is None else explainer.label_of(question.label)
        outlet = Outlet[Explained](HAND_OUT)
        return explainer._delivered(Source(instances), question, label, outlet, None, self._n_workers(question))

    def scores(self, explanations: Sequence[Explained]) -> list[float | None]:
        """The model's probability of each explained label for the instance itself; None where there is none.

        There is none where the model returns labels only, or where another target than the argmax was explained.

        See `torch_anchors.engine.scores`.

        Raises:
            PredictorCallError, PredictorReturnTypeError: the model fails on these rows.
        """
        of_classes = [explanation.target == repr(ARGMAX) for explanation in explanations]
        rows = [self.row_of(one) if known else None for one, known in zip(explanations, of_classes, strict=True)]
        asked = [
            Scored(self.predictor_of(explanation), row, explanation.label)
            for explanation, row in zip(explanations, rows, strict=True)
            if row is not None
        ]
        found = iter(probabilities_of_each(asked))
        return [None if row is None else next(found) for row in rows]

    def _explained_many(self, given: Any, question: ManyQuestion) -> Iterator[tuple[int, Explained]]:
        instances, total = self.instances(given)
        explainer = self.about(question.target)
        return explainer._explained(instances, question, total=total, n_workers=self._n_workers(question))

    def _n_workers(self, question: ManyQuestion) -> int:
        if question.n_workers is not None:
            return question.n_workers
        return 0 if self._predictor.device.type == "cpu" else READERS

    def common(self, found: Finished[SomeCase], settings: ExplainSettings) -> dict[str, Any]:
        """The fields that explanations of all kinds have, but for the words."""
        result, label, answer = found.found.result, found.found.label, found.found.answer
        return {
            "features": result.anchor,
            "precision": result.precision,
            "precision_interval": result.precision_interval,
            "coverage": result.coverage,
            "status": result.status,
            "label": self._predictor.outputs.shown(label),
            **self._answered(found),
            "answer": None if answer == INVALID else self._predictor.outputs.shown(answer),
            "question": NECESSARY if found.case.changes else SUFFICIENT,
            "threshold": settings.threshold,
            "delta": settings.delta,
            "n_rows": found.found.n_rows,
            "n_calls": found.found.n_calls,
            "seconds": found.found.seconds,
            "path": result.path,
            "effects": _effects_of_parts(found),
            "meta": {**self.meta, "params": {**self.meta["params"], **settings.params()}},
        }

    def _answered(self, found: Finished[SomeCase]) -> dict[str, Any]:
        """What was asked, what the model said of the instance, and names of the labels that the explanation shows."""
        target, label, explained = self._predictor.target, found.found.label, found.case.explained
        shown = {label, found.found.answer, *found.found.examples.labels.tolist()}
        shown |= set() if found.found.nearest_miss is None else {found.found.nearest_miss.label}
        names = target.names
        if len(names) > FEW_NAMES:
            names = {one: name for one, name in names.items() if one in shown}
        asked = {"target": repr(target), "answer_names": dict(names)}
        if not isinstance(target, Comparison) or explained is None:
            return {"label_name": self._predictor.outputs.name_of(label), **asked}
        return {"label_name": target.name_of(label, explained), "said": target.said(explained), **asked}

    def label_of(self, label: int | str) -> int:
        """The label that a user means by its number or its name; what is known of the classes must allow it."""
        return self._predictor.outputs.checked(label)

    def _explained(
        self, instances: Iterable[Any], question: OneQuestion, *, total: int | None, n_workers: int
    ) -> Iterator[tuple[int, Explained]]:
        """Explanations with their numbers. What is wrong with the question itself is raised at once."""
        label = None if question.label is None else self.label_of(question.label)
        outlet = Outlet[Explained](question.on_error if isinstance(question, ManyQuestion) else "raise")
        delivered = self._delivered(Source(instances), question, label, outlet, total, n_workers)
        return cast(Iterator[tuple[int, Explained]], delivered)  # such an outlet hands out no errors

    def _delivered(
        self,
        source: Source[Any],
        question: OneQuestion,
        label: int | None,
        outlet: Outlet[Explained],
        total: int | None,
        n_workers: int,
    ) -> Iterator[tuple[int, Explained | Exception]]:
        """Runs until every instance is done; those under way run again where the model turns out not to repeat itself.

        Instances that cannot be made ready, and those on which the model fails, go to the outlet as their errors.
        """
        prepare = partial(self._made_ready, question=question, label=label)
        with outlet.kept(), Progress(shown=question.progress, total=total, unit=self.unit) as progress:
            while True:
                groups = ahead(source, prepare, together=self.together, n_workers=n_workers)
                try:
                    for load in self._run(groups, outlet, question):
                        progress.show(outlet.n_made, load.n_rows, load.fill)
                        yield from outlet.ready()
                        source.done_before(outlet.n_out)
                    return
                except NotRepeatable:
                    source.rewind()
                    outlet.forget()

    def _run(
        self, groups: Iterable[list[tuple[int, SomeCase | Exception]]], outlet: Outlet[Explained], question: OneQuestion
    ) -> Iterator[Load]:
        """Explains the cases of some groups into the outlet; yields the load so far whenever some are finished."""
        numbers: list[int] = []

        def cases() -> Iterator[list[SomeCase]]:
            for group in groups:
                for number, made in group:
                    if isinstance(made, Exception):
                        outlet.add(number, self._named(made, number, question, outlet))
                ready = [(number, made) for number, made in group if not isinstance(made, Exception)]
                self._check_label(question.label, [made for _, made in ready])
                numbers.extend(number for number, _ in ready)
                if ready:
                    yield [made for _, made in ready]

        runner = Runner[SomeCase](
            self._predictor,
            self._max_rows,
            partial(
                self._searches, settings=question, config=replace(question.config(self._predictor.device), n_spent=1)
            ),
            answers_first=self.answers_first,
            n_examples=question.n_covered_ex,
        )
        for wave in runner.waves(cases()):
            for place, made in self._explain_wave(wave, question):
                number = numbers[place]
                outlet.add(number, self._named(made, number, question, outlet) if isinstance(made, Exception) else made)
            yield runner.load
        yield runner.load

    def _check_label(self, label: int | str | None, cases: Sequence[SomeCase]) -> None:
        """Asks the predictor about one instance, once, where only its answer tells which labels there are.

        Raises:
            ArgumentError: there is no such class.
        """
        if label is None:
            return
        for case in cases if not self._predictor.outputs.known else ():
            with suppress(PredictorCallError, PredictorReturnTypeError):  # told when it is this case's turn
                code = case.sampler.instance_code(case.instance)
                labels_of(self._predictor.taking(case.as_array), case.sampler.render, code, MaxRows(1))
                break
        self.label_of(label)

    def _made_ready(
        self, numbered: Sequence[tuple[int, Any]], question: OneQuestion, label: int | None
    ) -> list[tuple[int, SomeCase | Exception]]:
        """The instances made ready, or the error of each that cannot be; with the label to explain if one was given."""
        numbers, instances = [number for number, _ in numbered], [instance for _, instance in numbered]
        try:
            cases = self.cases(instances, question)
        except ArgumentError as error:
            if len(numbered) == 1:
                return [(numbers[0], error)]
            return [made for one in numbered for made in self._made_ready([one], question, label)]
        if label is not None:
            cases = [replace(case, label=label) for case in cases]
        return list(zip(numbers, cases, strict=True))

    def _searches(
        self,
        cases: Sequence[SomeCase],
        labels: Sequence[int | None],
        *,
        settings: ExplainSettings,
        config: SearchConfig,
    ) -> Iterator[Search]:
        for space in self.spaces(cases, labels, settings):
            start = partial(choose, settings.method)
            search = several(settings.n_anchors, space, config, start)
            yield narrated(search, say, settings.verbose_every, space.numbers) if settings.verbose else search

    def _explain_wave(
        self, wave: Sequence[Finished[SomeCase] | Failed], settings: ExplainSettings
    ) -> Iterator[tuple[int, Explained | Exception]]:
        """The explanation of each case, by its place; the error where the model failed or gave no label to explain."""
        explainable = []
        outputs, label = self._predictor.outputs, settings.label
        names = outputs.names or tuple(outputs.target.names.values())
        for one in wave:
            if isinstance(one, Failed):
                yield one.place, one.error
            elif one.found.label == INVALID:
                reason = self._predictor.target.no_answer.format(unit=self.unit)
                yield one.place, PredictorReturnTypeError(f"{reason}{self.hint(one.case)}")
            elif isinstance(label, str) and label not in names:
                known = ", ".join(names[:10])
                yield (
                    one.place,
                    ArgumentError(f"label must be a class name of the predictor, such as {known}, got {label!r}."),
                )
            else:
                explainable.append(one)
        places = [one.place for one in explainable]
        yield from zip(places, self.explanations(explainable, settings), strict=True)

    def _named(self, error: Exception, number: int, question: OneQuestion, outlet: Outlet[Explained]) -> Exception:
        """The error with the number of the instance that it is about, where there are several."""
        if not isinstance(question, ManyQuestion) or outlet.on_error == HAND_OUT:
            return error
        named = type(error)(f"{error} (It was {self.unit} number {number} of those given, from 0.)")
        named.__cause__ = error.__cause__
        return named


def _effects_of_parts(found: Finished[Any]) -> Float[np.ndarray, " parts"] | None:
    """What each part does, by the effects of the predicates that are about it."""
    effects = found.found.effects
    return None if effects is None else cast(IndependentSampler, found.case.sampler).of_parts(effects)


def version() -> str:
    """The installed version of the package."""
    try:
        return installed_version("torch-anchors")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
