"""Whether a model answers the same when it is asked again: what it is asked, and when it is told off."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.reading import Reading
from torch_anchors.engine.repeats import GROUP, N_COMPARED, TIES, RepeatCheck
from torch_anchors.errors import AnchorsWarning

ROWS = torch.arange(20.0).reshape(10, 2)


def sums(rows: Tensor) -> Tensor:
    return rows.sum(1).long()


def compare(
    check: RepeatCheck,
    rows: Tensor,
    predict: Callable[[Tensor], Tensor],
    same_shape: bool = False,
    first: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Compares what `first` says, or `predict` itself, with what `predict` says then."""
    before = Reading((first or predict)(rows))

    def same(before: Reading, again: Reading) -> Tensor:
        return before.labels == again.labels

    check.compare(rows, before, lambda part: Reading(predict(part)), same, same_shape=same_shape)


def wrong_about(n_wrong: int) -> Callable[[Tensor], Tensor]:
    """A model that, after its first answer, gives `n_wrong` rows another label, one a call."""
    calls: list[int] = []

    def predict(rows: Tensor) -> Tensor:
        calls.append(len(rows))
        labels = sums(rows)
        if 1 < len(calls) < 2 + n_wrong:
            labels[-1] += 1
        return labels

    return predict


@pytest.mark.parametrize("same_shape", [False, True])
@pytest.mark.parametrize("n", [1, 2, 9, 63, 64, 200])
def test_a_model_that_repeats_its_answers_is_believed(n: int, same_shape: bool) -> None:
    check = RepeatCheck()
    assert (check.repeats, check.done) == (True, False)
    compare(check, torch.rand(n, 2) * 100, sums, same_shape)
    assert (check.repeats, check.n_differing) == (True, 0)
    assert check.n_compared == min(n, N_COMPARED)
    assert check.done == (n >= N_COMPARED)


def test_every_other_row_is_asked_for_again_in_reversed_order_and_then_those_between() -> None:
    asked: list[list[float]] = []

    def predict(rows: Tensor) -> Tensor:
        asked.append(rows[:, 0].tolist())
        return sums(rows)

    compare(RepeatCheck(), ROWS, predict, False, sums)
    assert asked == [[16, 12, 8, 4, 0], [18, 14, 10, 6, 2]]
    compare(RepeatCheck(), ROWS[:7], predict, True, sums)
    assert asked[2:] == [[12, 8, 4, 0, 12, 8, 4], [10, 6, 2, 10, 6, 2, 10]]  # as many as at first


def test_a_few_rows_are_asked_for_together() -> None:
    """A batch's statistics are then other ones, however large the batch was."""
    sizes: list[int] = []

    def predict(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return sums(rows)

    rows = torch.rand(70, 2)
    compare(RepeatCheck(), rows, predict, False, sums)
    assert sizes == [GROUP] * 8


@pytest.mark.parametrize("n", [1, 2, 3, 31, 64, 500])
def test_where_shapes_are_prepared_for_the_second_batch_is_as_large_as_the_first(n: int) -> None:
    sizes: list[int] = []

    def predict(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return sums(rows)

    rows = torch.rand(n, 2)
    compare(RepeatCheck(), rows, predict, True, sums)
    assert sizes == [n] * min(2, n)


def test_a_few_rows_at_a_time_are_enough_in_the_end() -> None:
    check, n_batches = RepeatCheck(), 0
    while not check.done:
        compare(check, ROWS, sums)
        n_batches += 1
    assert n_batches == -(-N_COMPARED // len(ROWS))
    assert check.repeats


@pytest.mark.parametrize("same_shape", [False, True])
def test_answers_that_depend_on_chance_are_found_out(same_shape: bool) -> None:
    rng, check = torch.Generator().manual_seed(0), RepeatCheck()
    with pytest.warns(AnchorsWarning, match=r"gave \d+ of 64 rows another label.*switch its dropout off"):
        compare(check, torch.rand(160, 2), lambda rows: torch.randint(2, (len(rows),), generator=rng), same_shape)
    assert not check.repeats
    assert check.done
    assert check.n_differing > TIES


@pytest.mark.parametrize("same_shape", [False, True])
def test_answers_that_depend_on_the_company_are_found_out(same_shape: bool) -> None:
    """Labels relative to the batch's first row, as batch statistics would make them."""
    check = RepeatCheck()
    with pytest.warns(AnchorsWarning, match="depend on the other rows of a batch, pass max_rows=1"):
        compare(check, ROWS, lambda rows: sums(rows - rows[:1]), same_shape)
    assert not check.repeats


def test_a_tie_that_rounding_decides_is_forgiven_and_told_from_many() -> None:
    check = RepeatCheck()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(check, ROWS, wrong_about(TIES))
    assert (check.repeats, check.n_differing) == (True, TIES)
    with pytest.warns(AnchorsWarning, match="gave 2 of 20 rows another label"):
        compare(check, ROWS, wrong_about(1))  # one more in another batch
    assert not check.repeats


def test_after_a_tie_as_many_rows_again_are_compared() -> None:
    check, rows = RepeatCheck(), torch.rand(2 * N_COMPARED, 2)
    compare(check, rows, wrong_about(1))
    assert (check.n_compared, check.done) == (N_COMPARED, False)
    compare(check, rows, sums)
    assert (check.n_compared, check.done, check.repeats) == (2 * N_COMPARED, True, True)


@pytest.mark.parametrize(("share", "most"), [(0.05, 0.03), (0.1, 0.005)])
def test_few_models_that_flip_some_labels_are_believed(share: float, most: float) -> None:
    """`most`: of models taken for one that repeats itself."""
    rng, n_believed, rows = torch.Generator().manual_seed(0), 0, torch.zeros(80, 1)
    for _ in range(400):
        check = RepeatCheck()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while not check.done:
                compare(check, rows, lambda rows: (torch.rand(len(rows), generator=rng) < share).long())
        n_believed += check.repeats
    assert n_believed <= most * 400


def test_labels_that_depend_on_the_mean_of_a_large_batch_are_found_out() -> None:
    rng, n_found = torch.Generator().manual_seed(0), 0
    for _ in range(50):
        check = RepeatCheck()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while not check.done:
                rows = torch.randn(200, 1, generator=rng)
                compare(check, rows, lambda rows: (rows > rows.mean()).flatten().long())
        n_found += not check.repeats
    assert n_found >= 48


def test_a_row_without_a_label_both_times_is_the_same_answer() -> None:
    check = RepeatCheck()
    compare(check, ROWS, lambda rows: torch.full((len(rows),), INVALID))
    assert check.n_differing == 0
