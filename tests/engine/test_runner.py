"""Many searches on one model: what they are told, what the model is sent, and what does not matter."""

from __future__ import annotations

import gc
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.engine.cases import (
    FreshRows,
    K,
    Recorder,
    SearchCase,
    Smaller,
    Strip,
    brought,
    case_of,
    parity,
    run,
    runner_of,
    running,
    scripted,
)
from torch_anchors.engine import job as job_module
from torch_anchors.engine.memory import Memory
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.repeats import NotRepeatable
from torch_anchors.engine.runner import Failed, Finished, Load, Runner
from torch_anchors.errors import AnchorsWarning, PredictorCallError
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.perturb.masks import holds, unpack
from torch_anchors.perturb.protocol import Order, Sampler
from torch_anchors.search.beam import beam_search
from torch_anchors.search.exact import exact_search
from torch_anchors.search.protocol import (
    EnumeratedHits,
    EnumerateRequest,
    Reply,
    Request,
    SampleCounts,
    SampleRequest,
    Search,
    SearchConfig,
    SearchResult,
    Status,
)


def first_three(rows: Tensor) -> Tensor:
    """1 while parts 0, 1 and 2 are shown."""
    return (rows[:, 0, 0, :3] == 1).all(1).long()


def image_strip(n_parts: int = K, n_backgrounds: int = 1, height: int = 1) -> ImageSampler:
    """The same rows as those of a `Strip`, from a real image."""
    fill = -torch.arange(n_backgrounds, dtype=torch.float32)[:, None, None, None].expand(-1, 1, height, n_parts)
    segments = np.arange(n_parts)[None].repeat(height, 0)
    return ImageSampler(torch.ones(1, height, n_parts), segments, lambda image, segments, rng: fill)


def wandering(n_parts: int, number: int, n_rounds: int = 6) -> Search:
    """A search without a goal, whose every request depends on the replies before it."""
    anchor, found = (), 0
    for turn in range(n_rounds):
        replies = yield (SampleRequest(anchor, 10 + 3 * (number % 7)), SampleRequest((turn % n_parts,), turn))
        best = int(np.argmax(replies[0].child_hits / np.maximum(replies[0].child_n, 1)))
        found = 31 * found + sum(31 * reply.n_hits + reply.pool_hits for reply in replies)
        anchor = tuple(sorted({*anchor, best, found % n_parts}))[-3:]
    (reply,) = yield (EnumerateRequest(tuple(range(n_parts - 3))),)
    return SearchResult(anchor, float(reply.hits.mean()), (0.0, 1.0), 1.0, Status.NOT_FOUND, found, 0)


def wanderer(number: int, sampler: Strip | None = None, n_rounds: int = 6, **settings: Any) -> SearchCase:
    sampler = sampler or Strip()
    return case_of(wandering(sampler.n_predicates, number, n_rounds), sampler, number=number, **settings)


def outcome(finished: Finished[SearchCase]) -> tuple[Any, ...]:
    """All that an explanation is made of."""
    found = finished.found
    return (
        finished.case.number,
        found.result,
        found.label,
        found.n_rows,
        found.examples.codes.tolist(),
        found.examples.labels.tolist(),
        found.examples.hits.tolist(),
        None if found.effects is None else found.effects.tolist(),
    )


def sorted_outcomes(finished: Sequence[Finished[SearchCase]]) -> list[tuple[Any, ...]]:
    return sorted(map(outcome, finished), key=lambda found: found[0])


def outcomes(runner: Runner[SearchCase], cases: Sequence[SearchCase]) -> list[tuple[Any, ...]]:
    return sorted_outcomes(run(runner, cases))


# ------------------------------------------------------------------------------------------------------- replies

ROUNDS: list[tuple[Request, ...]] = [
    (SampleRequest((), 40),),
    (SampleRequest((1,), 30), SampleRequest((1, 4), 20), SampleRequest((), 10)),
    (SampleRequest((1, 4), 0),),
    (EnumerateRequest((0, 1, 2, 3, 4)), SampleRequest((7,), 25)),
    (EnumerateRequest((0, 1, 2, 3, 4)),),
    (SampleRequest(tuple(range(K)), 12),),
]

KINDS = [(True, True), (True, False), (False, True), (False, False)]
"""Whether predicates are independent, and whether equal codes are equal rows."""


def sampler_of_kind(independent: bool, repeatable: bool, n_backgrounds: int = 1) -> Strip:
    sampler = Strip(n_backgrounds=n_backgrounds)
    sampler.independent, sampler.repeatable = independent, repeatable
    return sampler


@pytest.mark.parametrize(
    ("independent", "repeatable", "n_backgrounds", "max_rows", "label"),
    [
        *((True, True, *rest) for rest in product([1, 3], [5, 64], [None, 0, 1])),
        *((*kind, 3, 16, label) for kind, label in product(KINDS[1:], [None, 1])),
    ],
)
def test_replies_are_what_a_loop_over_all_rows_counts(
    independent: bool, repeatable: bool, n_backgrounds: int, max_rows: int, label: int | None
) -> None:
    """The requests of a script, drawn again from the same random stream and counted one row after the other."""
    sampler, replies, model = sampler_of_kind(independent, repeatable, n_backgrounds), [], Recorder()
    (finished,) = run(runner_of(model, max_rows), [case_of(scripted(ROUNDS, replies), sampler, number=7, label=label)])

    answer = int(parity(sampler.render(sampler.instance_code())))
    rng, target, n_sent = np.random.default_rng(7), answer if label is None else label, 1
    seen = {sampler.instance_code().numpy().tobytes()}
    pool: list[tuple[set[int], np.ndarray, bool]] = []
    expected = iter(replies)
    for requests in ROUNDS:
        for request, codes in zip(requests, sampler.draw([Order(r, rng) for r in requests]), strict=True):
            reply = next(expected)
            hits = (parity(sampler.render(codes)) == target).tolist()
            keys = {row.tobytes() for row in codes.numpy()}
            assert reply.n_new == (len(keys - seen) if repeatable else len(codes))
            seen |= keys
            n_sent += reply.n_new
            keep = sampler.keep(codes).numpy()
            if isinstance(request, EnumerateRequest):
                assert isinstance(reply, EnumeratedHits)
                assert reply.hits.tolist() == np.reshape(hits, (-1, n_backgrounds)).mean(1).tolist()
                continue
            assert isinstance(reply, SampleCounts)
            assert (reply.n, reply.n_hits) == (request.n, sum(hits))
            if not independent:
                assert (reply.pool_n, reply.pool_hits, reply.child_n, reply.child_hits) == (0, 0, None, None)
                continue
            pool += [(set(request.anchor), row, hit) for row, hit in zip(keep, hits, strict=True)]
            members = set(request.anchor)
            counted = [(r, h) for a, r, h in pool if a <= members and all(r[k] for k in members)]
            assert (reply.pool_n, reply.pool_hits) == (len(counted), sum(h for _, h in counted))
            assert reply.child_n.tolist() == [sum(bool(r[k]) for r, _ in counted) for k in range(K)]
            assert reply.child_hits.tolist() == [sum(bool(r[k]) and h for r, h in counted) for k in range(K)]
    assert next(expected, None) is None
    assert finished.found.n_rows == len(model.rows) == n_sent
    assert not repeatable or n_sent == len(seen) == len(set(model.rows))
    assert (finished.found.label, finished.found.answer) == (target, answer)


@pytest.mark.parametrize("label", [None, 1])
def test_rows_that_are_drawn_anew_each_time_are_counted_for_their_own_anchor_alone(label: int | None) -> None:
    def model(rows: Tensor) -> Tensor:
        return (rows.sum(1) > 1.5).long()

    replies: list[Reply] = []
    rounds: list[tuple[Request, ...]] = [
        (SampleRequest((), 20), SampleRequest((1,), 30)),
        (SampleRequest((1,), 15),),
    ]
    sampler = FreshRows()
    (finished,) = run(runner_of(model, 8), [case_of(scripted(rounds, replies, (1,)), sampler, label=label)])
    rng, drawn = np.random.default_rng(0), []
    for requests in rounds:
        drawn += zip(requests, sampler.draw([Order(request, rng) for request in requests]), strict=True)
    hits = [int(model(rows).sum()) for _, rows in drawn]
    assert 0 < hits[0] < 20
    expected = [SampleCounts(len(rows), n_hits, len(rows)) for n_hits, (_, rows) in zip(hits, drawn, strict=True)]
    assert replies == expected
    assert finished.found.n_rows == 65 + 1
    own = torch.cat([rows for request, rows in drawn if request.anchor == (1,)]).tolist()
    examples = finished.found.examples
    assert examples.codes[examples.hits].tolist() == [row for row in own if sum(row) > 1.5][:10]
    assert examples.codes[~examples.hits].tolist() == [row for row in own if sum(row) <= 1.5][:10]
    assert examples.labels.tolist() == examples.hits.astype(int).tolist()


@pytest.mark.parametrize("n_backgrounds", [1, 4])
def test_no_row_of_a_case_is_predicted_twice(n_backgrounds: int) -> None:
    model = Recorder()
    sampler = Strip(n_backgrounds=n_backgrounds)
    search = beam_search(sampler.space(), SearchConfig(max_rows_candidate=300))
    (finished,) = run(runner_of(model, 7), [case_of(search, sampler)])
    assert finished.found.n_rows > 100
    assert max(Counter(model.rows).values()) == 1
    assert len(model.rows) == finished.found.n_rows <= 2**K * n_backgrounds
    assert finished.found.n_calls == len(model.sizes)


def test_cases_do_not_share_rows_even_of_equal_images() -> None:
    model = Recorder()
    first, second = run(runner_of(model), [wanderer(3), wanderer(3)])
    assert first.found.n_rows == second.found.n_rows
    assert set(Counter(model.rows).values()) == {2}
    assert outcome(first) == outcome(second)


def test_an_exact_search_sends_every_mask_once_and_finds_the_planted_anchor() -> None:
    model, sampler = Recorder(first_three), Strip()
    search = exact_search(sampler.space(), SearchConfig())
    (finished,) = run(runner_of(model, 50), [case_of(search, sampler)])
    assert finished.found.result.anchor == (0, 1, 2)
    assert finished.found.result.precision == 1.0
    assert len(model.rows) == len(set(model.rows)) == 2**K


def test_examples_are_rows_of_the_anchor_with_the_models_labels() -> None:
    sampler = Strip()
    for finished in run(runner_of(parity, n_examples=4), [wanderer(i, sampler) for i in range(8)]):
        result, examples = finished.found.result, finished.found.examples
        codes = torch.from_numpy(examples.codes)
        assert holds(examples.codes, result.anchor).all()
        assert parity(sampler.render(codes)).tolist() == examples.labels.tolist()
        assert (examples.labels == finished.found.label).tolist() == examples.hits.tolist()
        assert 1 <= examples.hits.sum() <= 4
        assert (~examples.hits).sum() <= 4
        assert len(np.unique(examples.codes, axis=0)) == len(codes)


@pytest.mark.parametrize(("independent", "repeatable"), KINDS)
@pytest.mark.parametrize("label", [None, 0])
def test_examples_of_every_kind_of_rows_are_the_first_hits_and_misses_of_a_loop(
    independent: bool, repeatable: bool, label: int | None
) -> None:
    """Of rows drawn for any anchor that satisfy this one if predicates are independent, else of this anchor's own."""
    rounds: list[tuple[Request, ...]] = [(SampleRequest((), 60),), (SampleRequest((2,), 25), SampleRequest((4,), 9))]
    sampler = sampler_of_kind(independent, repeatable)
    case = case_of(scripted(rounds, [], (2,)), sampler, label=label)
    (finished,) = run(runner_of(parity, 16, n_examples=5), [case])

    rng, target = np.random.default_rng(0), finished.found.label
    rows = []
    for requests in rounds:
        for request, codes in zip(requests, sampler.draw([Order(r, rng) for r in requests]), strict=True):
            if independent or request.anchor == (2,):
                rows += [row.tolist() for row in codes[sampler.keep(codes)[:, 2]]]
    if independent and repeatable:  # each distinct row once, but for the instance
        shown = sampler.instance_code().tolist()
        rows = [row for row in dict.fromkeys(map(tuple, rows)) if list(row) not in shown]
    labels = [int(parity(sampler.render(torch.tensor([row], dtype=torch.uint8)))) for row in rows]
    hits = [list(row) for row, own in zip(rows, labels, strict=True) if own == target][:5]
    misses = [list(row) for row, own in zip(rows, labels, strict=True) if own != target][:5]
    examples = finished.found.examples
    assert len(hits) == len(misses) == 5
    assert examples.codes.tolist() == hits + misses
    assert examples.hits.tolist() == [True] * 5 + [False] * 5


@pytest.mark.parametrize(("independent", "repeatable"), KINDS)
@pytest.mark.parametrize("label", [None, 0])
def test_the_nearest_miss_is_that_of_a_loop_over_all_rows(
    independent: bool, repeatable: bool, label: int | None
) -> None:
    rounds: list[tuple[Request, ...]] = [(SampleRequest((), 60),), (SampleRequest((2,), 25), SampleRequest((4,), 9))]
    sampler = sampler_of_kind(independent, repeatable)
    (finished,) = run(runner_of(parity, 16), [case_of(scripted(rounds, [], (2,)), sampler, label=label)])
    rng, target = np.random.default_rng(0), finished.found.label
    drawn = [sampler.draw([Order(r, rng) for r in requests]) for requests in rounds]
    rows = torch.cat([codes for round_ in drawn for codes in round_])
    n_hidden, labels = (~sampler.shown(rows)).sum(1).tolist(), parity(sampler.render(rows)).tolist()
    nearest = min((n, i) for i, n in enumerate(n_hidden) if n and labels[i] != target)[1]
    assert finished.found.nearest_miss.code.tolist() == rows[nearest].tolist()
    assert finished.found.nearest_miss.label == labels[nearest]


@pytest.mark.parametrize("label", [None, 1])
def test_the_instance_is_no_example_even_where_it_was_drawn(label: int | None) -> None:
    everything = tuple(range(K - 2))
    rounds: list[tuple[Request, ...]] = [(SampleRequest(everything, 40),)]
    (finished,) = run(runner_of(parity), [case_of(scripted(rounds, [], everything), label=label)])
    codes, instance = finished.found.examples.codes, Strip().instance_code().numpy()
    assert len(codes) == 3
    assert finished.found.n_rows == 4
    assert not (codes == instance).all(1).any()


def test_all_drawn_rows_but_the_instance_are_examples_where_many_are_wanted() -> None:
    sampler = Strip()
    case = case_of(scripted([(SampleRequest((), 30),)], []), sampler, label=0)
    (finished,) = run(runner_of(parity, n_examples=100), [case])
    (codes,) = sampler.draw([Order(SampleRequest((), 30), np.random.default_rng(0))])
    instance = sampler.instance_code().tolist()
    drawn = [code for code in codes.unique(dim=0).tolist() if code not in instance]
    assert sorted(finished.found.examples.codes.tolist()) == sorted(drawn)


def test_an_instance_without_a_label_is_searched_no_further() -> None:
    replies: list[Reply] = []
    model = Recorder(lambda rows: torch.full((len(rows), 2), torch.nan))
    rounds = [(SampleRequest((), 50),), (SampleRequest((1,), 50),)]
    (finished,) = run(runner_of(model), [case_of(scripted(rounds, replies))])
    assert replies == []
    assert len(model.rows) <= 51
    assert (finished.found.label, finished.found.answer) == (INVALID, INVALID)
    assert not finished.found.examples.hits.any()


def test_beside_a_given_label_the_instance_is_asked_for_once_and_its_answer_is_told() -> None:
    model, replies = Recorder(first_three), []
    cases = [case_of(scripted([(SampleRequest((0,), 20),)], replies), number=1, label=0)]
    (finished,) = run(runner_of(model), cases)
    (codes,) = Strip().draw([Order(SampleRequest((0,), 20), np.random.default_rng(1))])
    keep = unpack(codes, K)
    assert replies[0].n_hits == 20 - int(keep[:, :3].all(1).sum())
    assert len(model.rows) == 1 + replies[0].n_new == 1 + len(codes.unique(dim=0))
    assert (finished.found.label, finished.found.answer) == (0, 1)


@pytest.mark.parametrize("answers_first", [False, True])
@pytest.mark.parametrize("label", [None, 2])
def test_a_search_that_needs_no_row_asks_for_nothing_but_the_answer(label: int | None, answers_first: bool) -> None:
    model = Recorder()
    cases = [case_of(scripted([], [], (1,)), number=number, label=label) for number in range(3)]
    finished = run(runner_of(model, answers_first=answers_first), cases)
    assert [one.case.number for one in finished] == [0, 1, 2]
    assert len(model.rows) == 3
    target = int(parity(Strip().render(Strip().instance_code())))
    for one in finished:
        assert one.found.result.anchor == (1,)
        assert (one.found.label, one.found.answer) == (target if label is None else label, target)
        assert one.found.n_rows == one.found.n_calls == 1
        assert len(one.found.examples.codes) == 1  # better the instance itself than none


def test_a_search_may_find_that_it_has_nothing_to_ask() -> None:
    replies: list[Reply] = []
    rounds: list[tuple[Request, ...]] = [(), (SampleRequest((), 5),), (), (), (SampleRequest((), 6),), ()]
    (finished,) = run(runner_of(parity), [case_of(scripted(rounds, replies))])
    assert [reply.n for reply in replies] == [5, 6]
    assert finished.found.result.success


def test_a_case_takes_its_time_from_its_admission_to_its_end() -> None:
    def slow(rows: Tensor) -> Tensor:
        time.sleep(0.02)
        return parity(rows)

    started = time.perf_counter()
    rounds: list[tuple[Request, ...]] = [(SampleRequest((), 5),), (SampleRequest((), 5),)]
    (finished,) = run(runner_of(slow), [case_of(scripted(rounds, []))])
    assert 0.04 <= finished.found.seconds <= time.perf_counter() - started


# --------------------------------------------------------------------------------------------------- labels first


class Asked:
    """Starts the searches that cases bring along, and keeps what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], list[int | None]]] = []

    def __call__(self, cases: Sequence[SearchCase], labels: Sequence[int | None]) -> list[Search]:
        self.calls.append(([case.number for case in cases], list(labels)))
        return brought(cases, labels)


def test_searches_of_a_group_are_started_together_and_know_no_label_unless_given() -> None:
    searches = Asked()
    cases = [wanderer(number, label=[None, 1][number % 2]) for number in range(5)]
    list(runner_of(parity, searches=searches).waves([cases[:3], cases[3:]]))
    assert searches.calls == [([0, 1, 2], [None, 1, None]), ([3, 4], [1, None])]


def test_searches_that_need_the_labels_are_told_them_when_they_start() -> None:
    """A label of each part's number: the instances of strips of different lengths have different ones."""
    searches, model = Asked(), Recorder(lambda rows: torch.full((len(rows),), rows.shape[3]))
    lengths = [5, 6, 7, 5, 8]
    cases = [wanderer(i, Strip(n), label=99 if n == 6 else None) for i, n in enumerate(lengths)]
    groups = [cases[:3], cases[3:]]
    waves = runner_of(model, 3, searches=searches, answers_first=True).waves(groups)
    found = {one.case.number: one.found for wave in waves for one in wave}
    assert searches.calls == [([0, 1, 2], [5, 99, 7]), ([3, 4], [5, 8])]
    assert [found[i].label for i in range(5)] == [5, 99, 7, 5, 8]


def test_no_search_waits_for_the_answer_where_its_label_is_given() -> None:
    model, searches = Recorder(), Asked()
    cases = [case_of(scripted([], []), number=number, label=2) for number in range(3)]
    list(runner_of(model, searches=searches, answers_first=True).waves([cases]))
    assert searches.calls == [([0, 1, 2], [2, 2, 2])]
    assert model.rows == 3 * [(1.0,) * K]


def test_an_instance_that_is_known_to_have_no_label_is_not_searched() -> None:
    searches, replies = Asked(), []

    def model(rows: Tensor) -> Tensor:
        return torch.where(rows[:, 0, 0, :1] == 1, torch.nan, 2 * rows[:, 0, 0, :2] - 1)

    case = case_of(scripted([(SampleRequest((0,), 20), SampleRequest((), 30))], replies))
    (finished,) = run(runner_of(model, searches=searches, answers_first=True), [case])
    assert searches.calls == [([0], [INVALID])]
    assert replies == []
    assert (finished.found.label, finished.found.n_rows) == (INVALID, 1)


def test_no_group_is_read_while_the_labels_of_another_are_awaited() -> None:
    """Lest instances pile up whose searches cannot begin."""
    log: list[str] = []

    def groups() -> Iterator[list[SearchCase]]:
        for number in range(4):
            log.append("read")
            yield [case_of(scripted([(SampleRequest((), 3),)], []), number=number)]

    def searches(cases: Sequence[SearchCase], labels: Sequence[int | None]) -> list[Search]:
        log.append("start")
        return brought(cases, labels)

    list(runner_of(parity, 1000, searches=searches, answers_first=True).waves(groups()))
    assert log == ["read", "start"] * 4


# ------------------------------------------------------------------------------------------------------- invariances


@pytest.fixture(scope="module")
def alone() -> list[tuple[Any, ...]]:
    """Each case on a runner of its own."""
    return [outcomes(runner_of(parity), [case])[0] for case in mixed_cases()]


def mixed_cases(strip: Callable[..., Any] = Strip) -> list[SearchCase]:
    """Cases of several kinds on images of three sizes."""
    cases = []
    for number in range(8):
        sampler = strip(5 + number % 3, n_backgrounds=1 + number % 2, height=1 + number % 2)
        config = SearchConfig(max_rows_candidate=100, min_samples_start=50)
        search = [
            wandering(sampler.n_predicates, number),
            beam_search(sampler.space(), config),
            wandering(sampler.n_predicates, number),
            exact_search(sampler.space(), config),
        ][number % 4]
        label = [None, None, 1][number % 3]
        cases.append(case_of(search, sampler, number=number, label=label))
    return cases


@pytest.mark.parametrize("max_rows", [1, 7, 64, "auto"])
def test_batched_with_others_is_as_alone(max_rows: int | str, alone: list[tuple[Any, ...]]) -> None:
    assert outcomes(runner_of(parity, max_rows), mixed_cases()) == alone


def test_rows_of_an_image_are_those_of_a_strip(alone: list[tuple[Any, ...]]) -> None:
    assert outcomes(runner_of(parity, 16), mixed_cases(image_strip)) == alone


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_cases_does_not_matter(seed: int, alone: list[tuple[Any, ...]]) -> None:
    cases = mixed_cases()
    np.random.default_rng(seed).shuffle(cases)
    finished = run(runner_of(parity, 16), cases)
    assert sorted_outcomes(finished) == alone
    assert sorted(one.place for one in finished) == list(range(8))
    assert all(one.case is cases[one.place] for one in finished)


@pytest.mark.parametrize(
    ("together", "answers_first", "max_rows"),
    [(1, True, 16), (3, False, 64), (3, True, 4), (8, False, 4), (8, True, 64)],
)
def test_how_cases_are_grouped_and_when_labels_are_known_does_not_matter(
    together: int, answers_first: bool, max_rows: int, alone: list[tuple[Any, ...]]
) -> None:
    cases = mixed_cases()
    runner = runner_of(parity, max_rows, answers_first=answers_first)
    waves = runner.waves(cases[first : first + together] for first in range(0, 8, together))
    assert sorted_outcomes([one for wave in waves for one in wave]) == alone


@pytest.mark.parametrize(("max_active", "max_ahead", "together"), [(1, 4, 1), (5, 1, 1), (3, 4, 1), (3, 4, 8)])
def test_how_many_are_under_way_does_not_matter(
    max_active: int, max_ahead: int, together: int, alone: list[tuple[Any, ...]]
) -> None:
    runner, cases = runner_of(parity, 16, max_active=max_active, max_ahead=max_ahead), mixed_cases()
    waves = runner.waves(cases[first : first + together] for first in range(0, 8, together))
    assert sorted_outcomes([one for wave in waves for one in wave]) == alone


@pytest.mark.parametrize(
    ("depth", "max_rows", "answers_first"), [(2, 4, False), (2, 32, False), (3, 16, False), (2, 16, True)]
)
def test_batches_under_way_at_the_same_time_do_not_matter(
    depth: int, max_rows: int, answers_first: bool, alone: list[tuple[Any, ...]]
) -> None:
    runner = runner_of(parity, max_rows, answers_first=answers_first)
    runner._depth = depth
    assert outcomes(runner, mixed_cases()) == alone


def test_preprocess_may_bring_all_images_to_one_size() -> None:
    def resize(rows: Tensor) -> Tensor:
        return nn.functional.pad(rows, (0, 12 - rows.shape[3], 0, 2 - rows.shape[2]))

    def predictor(model: Callable[[Tensor], Tensor]) -> Predictor:
        return Predictor(model, preprocess=resize)

    alone = [outcomes(runner_of(predictor(parity)), [case])[0] for case in mixed_cases()]
    model = Recorder()
    runner = runner_of(predictor(model))
    assert outcomes(runner, mixed_cases()) == alone
    assert len(model.sizes) == runner.load.n_calls  # one forward pass for all sizes of a batch
    assert sum(model.sizes) == runner.load.n_rows


def test_cases_that_finish_together_come_together() -> None:
    rounds: list[tuple[Request, ...]] = [(SampleRequest((), 5),)]
    cases = [case_of(scripted(rounds * (1 + number // 3), []), number=number) for number in range(6)]
    waves = list(runner_of(parity, 1000).waves([cases]))
    assert [[one.case.number for one in wave] for wave in waves] == [[0, 1, 2], [3, 4, 5]]


# ------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    ("most", "error"),
    [
        (1, MemoryError),
        (5, lambda: torch.OutOfMemoryError("CUDA out of memory.")),
        (20, lambda: RuntimeError("can't allocate memory")),
    ],
)
def test_running_out_of_memory_loses_nothing(
    most: int, error: Callable[[], Exception], alone: list[tuple[Any, ...]]
) -> None:
    model = Smaller(most, error)
    runner = runner_of(model, 64)
    assert outcomes(runner, mixed_cases()) == alone
    assert 1 <= model.n_failures <= 6
    assert most / 2 < runner.max_rows.n <= most
    assert runner.load.n_rows == sum(found[3] for found in alone)


def test_memory_for_not_even_one_row_is_an_error() -> None:
    with pytest.raises(PredictorCallError, match="not enough memory for a forward pass of one single row") as caught:
        run(runner_of(Smaller(0, MemoryError)), mixed_cases())
    assert isinstance(caught.value.__cause__, MemoryError)


def test_cases_are_read_no_further_ahead_than_batches_need() -> None:
    n_read = 0

    def cases() -> Iterator[SearchCase]:
        nonlocal n_read
        for number in range(80):
            n_read += 1
            yield wanderer(number, n_rounds=2)

    n_done, ahead = 0, []
    for _ in running(runner_of(parity, 64), cases()):
        n_done += 1
        ahead.append(n_read - n_done)
    assert n_done == 80
    assert max(ahead) <= 20  # a case asks for 10 to 30 rows at a time


def test_enumerations_are_not_read_far_ahead() -> None:
    """An exact search asks once, for many rows."""
    n_read = 0

    def cases() -> Iterator[SearchCase]:
        nonlocal n_read
        for number in range(60):
            n_read += 1
            sampler = Strip()
            yield case_of(exact_search(sampler.space(), SearchConfig()), sampler, number=number)

    ahead = []
    for n_done, _ in enumerate(running(runner_of(parity, 64), cases()), start=1):
        ahead.append(n_read - n_done)
    assert max(ahead) <= 2


@pytest.mark.parametrize(("max_active", "max_ahead"), [(3, 100), (100, 3)])
@pytest.mark.parametrize("answers_first", [False, True])
def test_cases_under_way_are_bounded(max_active: int, max_ahead: int, answers_first: bool) -> None:
    runner = runner_of(parity, 1000, max_active=max_active, max_ahead=max_ahead, answers_first=answers_first)
    unfinished: set[int] = set()
    spans: list[int] = []

    def cases() -> Iterator[SearchCase]:
        for number in range(30):
            unfinished.add(number)
            spans.append(number - min(unfinished))
            assert len(unfinished) <= max_active
            yield wanderer(number, n_rounds=1 + number % 4)

    for finished in running(runner, cases()):
        unfinished.discard(finished.case.number)
    assert not unfinished
    assert max(spans) < max_ahead


@pytest.mark.parametrize(("max_active", "max_ahead"), [(3, 100), (100, 3)])
def test_searches_under_way_are_bounded_in_a_large_group_too(max_active: int, max_ahead: int) -> None:
    unfinished: set[int] = set()
    most_active, spans = 0, []

    def search(number: int) -> Search:
        nonlocal most_active
        unfinished.add(number)
        most_active = max(most_active, len(unfinished))
        spans.append(number - min(unfinished))
        result = yield from wandering(K, number, 1 + number % 4)
        return result

    cases = [case_of(search(number), number=number) for number in range(30)]
    for wave in runner_of(parity, 1000, max_active=max_active, max_ahead=max_ahead).waves([cases]):
        unfinished -= {finished.case.number for finished in wave}
    assert len(spans) == 30
    assert not unfinished
    assert most_active <= max_active
    assert max(spans) < max_ahead


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collector")
@pytest.mark.parametrize("answers_first", [False, True])
def test_the_ledger_and_finished_cases_keep_no_rows(answers_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory follows the cases under way; what is finished is freed at once, without the garbage collector."""
    memories: list[weakref.ref[Memory]] = []

    def recorded(sampler: Sampler) -> Memory:
        memory = Memory(sampler)
        memories.append(weakref.ref(memory))
        return memory

    monkeypatch.setattr(job_module, "Memory", recorded)

    def cases() -> Iterator[SearchCase]:
        for number in range(40):
            rounds: list[tuple[Request, ...]] = [(SampleRequest((), 250),), (SampleRequest((1,), 50),)]
            yield case_of(scripted(rounds, []), Strip(16), number=number)

    runner, sizes, samplers, kept = runner_of(parity, 256, answers_first=answers_first), [], [], []
    for finished in running(runner, cases()):
        sizes.append(runner._ledger.labels.shape[0])
        samplers.append(weakref.ref(finished.case.sampler))
        kept.append(finished.found)
    assert len(kept) == len(memories) == 40
    assert runner._ledger.n_written > 10_000
    assert max(sizes) == 4096
    del finished
    assert sum(ref() is not None for ref in samplers) == 0
    assert sum(ref() is not None for ref in memories) == 0


def test_images_of_many_sizes_do_not_pile_up_in_memory() -> None:
    runner = runner_of(parity, 64)
    largest = 0
    for finished in running(runner, (wanderer(n, Strip(5 + n), n_rounds=1) for n in range(40))):
        held = {buffer.untyped_storage().data_ptr(): buffer.nbytes for buffer in tensors_in(runner._forward)}
        largest = max(largest, sum(held.values()))
        assert finished.found.n_rows > 0
    assert 0 < largest <= 4 * 64 * 4 * 45  # a few batches of the largest image


def tensors_in(owner: object) -> list[Tensor]:
    """Tensors that an object holds, directly or in a dictionary."""
    values = list(vars(owner).values())
    values += [item for value in values if isinstance(value, dict) for item in value.values()]
    return [value for value in values if isinstance(value, Tensor)]


# ------------------------------------------------------------------------------------------------------- batches


def test_batches_are_full_until_the_last_wave() -> None:
    model = Recorder()
    runner = runner_of(model, 48)
    run(runner, (wanderer(number, n_rounds=4) for number in range(40)))
    assert runner.load.n_rows == len(model.rows)
    assert runner.load.n_calls == len(model.sizes)
    early = model.sizes[: int(0.8 * len(model.sizes))]
    assert np.mean(early) >= 0.9 * 48
    assert max(model.sizes) <= 48
    assert runner.load.fill == pytest.approx(len(model.rows) / (48 * len(model.sizes)))


def test_a_runner_without_work_is_full() -> None:
    runner = runner_of(parity)
    assert run(runner, []) == []
    assert runner.load.fill == 1.0


def test_the_fill_is_the_share_of_places_with_a_row() -> None:
    load = Load()
    for n_rows in (64, 16, 80):  # the last batch is larger than the size has become
        load.add(n_rows, 64)
    assert (load.n_rows, load.n_calls, load.capacity) == (160, 3, 208)
    assert load.fill == 160 / 208


class Static(nn.Module):
    """A module that looks compiled, and remembers the shapes and values it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self._orig_mod = None
        self.shapes: list[tuple[int, ...]] = []
        self.values: set[float] = set()

    def forward(self, rows: Tensor) -> Tensor:
        self.shapes.append(tuple(rows.shape))
        self.values |= set(rows.unique().tolist())
        return parity(rows)


@pytest.mark.parametrize("sizes", [(K,), (5, 6, 7)])
def test_a_compiled_module_sees_few_shapes_and_only_valid_values(sizes: tuple[int, ...]) -> None:
    model = Static()
    cases, again = ([wanderer(n, Strip(sizes[n % len(sizes)])) for n in range(9)] for _ in range(2))
    runner = runner_of(model, 32)
    found = outcomes(runner, cases)
    assert {shape[0] for shape in model.shapes} <= {4, 8, 16, 32}
    assert model.values <= {0.0, 1.0}
    assert found == outcomes(runner_of(parity, 32), again)
    assert runner.load.n_rows == sum(case[3] for case in found)


def test_a_compiled_module_is_compiled_once_per_shape() -> None:
    shapes: list[tuple[int, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        shapes.append(tuple(inputs[-1].shape))
        return graph.forward

    class Sum(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return parity(rows)

    cases = [wanderer(number) for number in range(8)]
    compiled = torch.compile(Sum(), backend=backend, dynamic=False)
    found = outcomes(runner_of(compiled, 16), cases)
    assert 1 <= len(shapes) <= 4
    assert found == outcomes(runner_of(parity, 16), [wanderer(number) for number in range(8)])


# ------------------------------------------------------------------------------------------------------- interruption


def failing_after(n_calls: int, error: BaseException) -> Callable[[Tensor], Tensor]:
    left = iter(range(n_calls))

    def model(rows: Tensor) -> Tensor:
        if next(left, None) is None:
            raise error
        return parity(rows)

    return model


def test_cases_finished_before_an_interruption_have_been_yielded() -> None:
    done: list[Finished[SearchCase]] = []
    interrupted = failing_after(30, KeyboardInterrupt())
    finished = running(runner_of(interrupted, 32), (wanderer(n, n_rounds=3) for n in range(60)))
    with pytest.raises(KeyboardInterrupt):
        done.extend(iter(finished))
    assert 1 <= len(done) < 60
    assert all(one.found.result.status is Status.NOT_FOUND for one in done)


def test_cases_finished_before_a_failure_have_been_yielded_and_the_others_have_failed() -> None:
    """A model that works no more from some call on."""
    runner = runner_of(failing_after(30, ValueError("broken")), 32)
    waves = runner.waves([wanderer(n, n_rounds=3)] for n in range(60))
    finished = [one for wave in waves for one in wave]
    assert sorted(one.place for one in finished) == list(range(60))
    done = [one for one in finished if isinstance(one, Finished)]
    failed = [one for one in finished if isinstance(one, Failed)]
    assert 1 <= len(done) < 60
    assert finished == [*done, *failed]
    assert all(one.found.result.status is Status.NOT_FOUND for one in done)
    for one in failed:
        assert isinstance(one.error, PredictorCallError)
        assert "ValueError: broken" in str(one.error)


def separated(runner: Runner[SearchCase], cases: Sequence[SearchCase], together: int) -> tuple[list[Any], list[Any]]:
    """The outcomes of the cases that were explained, and the places of those that failed."""
    waves = runner.waves(cases[first : first + together] for first in range(0, len(cases), together))
    finished = [one for wave in waves for one in wave]
    failed = [one for one in finished if isinstance(one, Failed)]
    assert all(isinstance(one.error, PredictorCallError) for one in failed)
    explained = [one for one in finished if isinstance(one, Finished)]
    return sorted_outcomes(explained), sorted(one.place for one in failed)


@pytest.mark.parametrize(
    ("max_rows", "together", "answers_first", "depth"),
    [(1, 1, False, 1), (16, 1, False, 1), (64, 5, True, 1), (16, 15, True, 2), (500, 15, False, 2)],
)
def test_a_case_on_whose_rows_the_model_fails_does_not_harm_the_others(
    max_rows: int, together: int, answers_first: bool, depth: int
) -> None:
    """Every third one has a second background, which the model does not bear."""

    def picky(rows: Tensor) -> Tensor:
        if bool((rows < 0).any()):
            raise ValueError("negative pixels")
        return parity(rows)

    def cases() -> list[SearchCase]:
        return [wanderer(n, Strip(n_backgrounds=1 + (n % 3 == 1)), n_rounds=3) for n in range(15)]

    runner = runner_of(picky, max_rows, answers_first=answers_first)
    runner._depth = depth
    explained, failed = separated(runner, cases(), together)
    assert failed == list(range(1, 15, 3))
    assert explained == [found for found in outcomes(runner_of(parity), cases()) if found[0] % 3 != 1]
    assert not runner._jobs
    assert not runner._active
    assert not runner._open


def test_a_search_is_not_begun_where_the_model_fails_on_the_instance_itself() -> None:
    def picky(rows: Tensor) -> Tensor:
        if rows.shape[3] == 7:
            raise ValueError("seven pixels")
        return parity(rows)

    searches = Asked()
    cases = [wanderer(n, Strip(length), n_rounds=2) for n, length in enumerate([5, 7, 6, 7, 7, 5])]
    runner = runner_of(picky, 16, searches=searches, answers_first=True)
    explained, failed = separated(runner, cases, 3)
    assert failed == [1, 3, 4]
    assert [found[0] for found in explained] == [0, 2, 5]
    assert [numbers for numbers, _ in searches.calls] == [[0, 2], [5]]


def test_a_failure_in_company_only_is_nobodys_fault() -> None:
    """A model that takes so many rows and no more, and does not say that its memory was short."""
    model = Smaller(40, lambda: ValueError("too many"))
    explained, failed = separated(runner_of(model, 64), [wanderer(n, n_rounds=3) for n in range(10)], 1)
    assert model.n_failures > 0
    assert failed == []
    assert explained == outcomes(runner_of(parity), [wanderer(n, n_rounds=3) for n in range(10)])


def test_a_model_that_always_fails_explains_nothing_and_comes_to_an_end() -> None:
    for answers_first in (False, True):
        runner = runner_of(Smaller(0, lambda: ValueError("broken")), 16, answers_first=answers_first)
        explained, failed = separated(runner, [wanderer(n) for n in range(7)], 2)
        assert explained == []
        assert failed == list(range(7))


def test_answers_that_were_taken_for_granted_and_vary_end_the_run() -> None:
    """A case whose sampler does not remember rows goes on without a word."""
    rng = torch.Generator().manual_seed(0)
    predictor = Predictor(lambda rows: torch.randint(3, (len(rows),), generator=rng), check_repeats=True)
    with pytest.warns(AnchorsWarning, match="another label when it was asked again"), pytest.raises(NotRepeatable):
        run(runner_of(predictor), [wanderer(number) for number in range(4)])
    rounds: list[tuple[Request, ...]] = [(SampleRequest((1,), 30),), (SampleRequest((1,), 30),)]
    replies: list[Reply] = []
    case = case_of(scripted(rounds, replies), Strip(3, repeatable=False), label=0)
    (finished,) = run(runner_of(predictor), [case])
    assert [reply.n_new for reply in replies] == [30, 30]
    assert finished.found.n_rows == 61


class Mode(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Dropout(0.5)

    def forward(self, rows: Tensor) -> Tensor:
        assert not self.training
        assert not self.inner.training
        return parity(rows)


def test_between_two_cases_and_after_closing_nothing_stays_changed() -> None:
    model = Mode()
    finished = running(runner_of(model, 8), (wanderer(n) for n in range(20)))
    for _ in range(3):
        next(finished)
        assert model.training
        assert model.inner.training
        assert not torch.is_inference_mode_enabled()
    finished.close()
    assert model.training
    assert model.inner.training


def test_two_runs_may_be_interleaved() -> None:
    model = Mode()
    a, b = (running(runner_of(model, 8), [wanderer(n) for n in range(6)]) for _ in range(2))
    found = [[], []]
    for one, two in zip(a, b, strict=True):
        found[0].append(outcome(one))
        found[1].append(outcome(two))
        assert model.training
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_an_error_of_a_search_is_not_hidden() -> None:
    def broken() -> Search:
        yield (SampleRequest((), 5),)
        raise ZeroDivisionError

    model = Mode()
    with pytest.raises(ZeroDivisionError):
        run(runner_of(model), [case_of(broken())])
    assert model.training


@pytest.mark.parametrize("answers_first", [False, True])
def test_an_error_in_starting_searches_is_not_hidden(answers_first: bool) -> None:
    def searches(cases: Sequence[SearchCase], labels: Sequence[int | None]) -> Iterator[Search]:
        yield cases[0].search
        raise ZeroDivisionError

    model = Mode()
    waves = runner_of(model, searches=searches, answers_first=answers_first).waves([[wanderer(0), wanderer(1)]])
    with pytest.raises(ZeroDivisionError):
        list(waves)
    assert model.training


# ------------------------------------------------------------------------------------------------------- waiting


class Waits(TorchDispatchMode):
    """Counts the operations that would make the host wait for the device."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "repeat_interleave")

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if any(waiting in name for waiting in self.names) and not (kwargs or {}).get("output_size"):
            self.found[str(func)] += 1
        if name in ("index", "index_put_") and any(t is not None and t.dtype == torch.bool for t in args[1]):
            self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("answers_first", [False, True])
def test_no_operation_of_a_round_asks_the_device_for_a_value(answers_first: bool) -> None:
    cases = mixed_cases(image_strip)
    with Waits() as waits:
        finished = run(runner_of(parity, 16, answers_first=answers_first), cases)
    assert len(finished) == len(cases)
    assert not waits.found
    with Waits() as waits:
        torch.ones(3)[torch.tensor([True, False, True])].sum().item()
    assert sum(waits.found.values()) == 2


def test_masks_of_a_case_are_those_of_its_own_stream() -> None:
    """What is drawn depends on the case's generator alone: the first round, drawn again by hand."""
    model = Recorder()
    run(runner_of(model), [case_of(scripted([(SampleRequest((2,), 30),)], []), number=3, label=0)])
    (codes,) = Strip().draw([Order(SampleRequest((2,), 30), np.random.default_rng(3))])
    assert set(model.rows) == {(1.0,) * K} | {tuple(row) for row in unpack(codes, K).float().tolist()}


def test_requests_of_one_sampler_are_drawn_in_one_call() -> None:
    """Tables draw for many instances at once; each order has its case's own stream and instance."""
    drawn: list[list[tuple[Any, int]]] = []

    class Together(FreshRows):
        def draw(self, orders: Sequence[Order]) -> list[Tensor]:
            drawn.append([(order.instance, order.request.n) for order in orders])
            return super().draw(orders)

    sampler = Together()
    rounds: list[tuple[Request, ...]] = [(SampleRequest((), 2), SampleRequest((1,), 3)), (SampleRequest((0,), 4),)]
    cases = [case_of(scripted(rounds, []), sampler, number=number, instance=name) for number, name in enumerate("abc")]
    other = case_of(scripted(rounds, []), Together(), number=3, instance="d")
    list(runner_of(lambda rows: (rows > 0.5).any(1), 1000).waves([[*cases, other]]))
    assert drawn == [
        [("a", 2), ("a", 3), ("b", 2), ("b", 3), ("c", 2), ("c", 3)],
        [("d", 2), ("d", 3)],
        [("a", 4), ("b", 4), ("c", 4)],
        [("d", 4)],
    ]


# ------------------------------------------------------------------------------------------------------- margins


@pytest.mark.parametrize("label", [None, 1])
def test_margins_are_those_of_a_hit_whatever_makes_one(label: int | None) -> None:
    """Positive where the row is a hit: jobs that ask for the label, and for another one, share their batches."""

    def scores(rows: Tensor) -> Tensor:
        of_one = rows.flatten(1)[:, :4].sum(1) - 1.7
        return torch.stack([torch.zeros_like(of_one), of_one], dim=1)

    replies: list[list[Reply]] = [[] for _ in range(4)]
    cases = [
        case_of(scripted([(SampleRequest((), 30),)], own), number=i, label=label, changes=i % 2 == 1)
        for i, own in enumerate(replies)
    ]
    run(runner_of(scores, 16), cases)
    for i, ((reply,), case) in enumerate(zip(replies, cases, strict=True)):
        (codes,) = case.sampler.draw([Order(SampleRequest((), 30), np.random.default_rng(i))])
        margins = scores(case.sampler.render(codes))[:, 1] * (-1 if case.changes else 1)
        assert reply.margins == pytest.approx(margins.numpy())
        assert reply.n_hits == int((margins > 0).sum())
        assert 0 < reply.n_hits < 30
