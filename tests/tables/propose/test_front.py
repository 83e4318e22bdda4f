"""Anchors grown to a front, against plain loops over conditions."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.tables.propose.front import EXCHANGE, TIE, best_of, contributions, grow

ERRORS = torch.tensor([0.5, 0.2, 0.05, 1e-6])


# --------------------------------------------------------------------------------------------------------- the front


class Extension(NamedTuple):
    precision: float
    coverage: float
    chosen: list[int]


def front_of(extensions: list[Extension], n_steps: int) -> tuple[Tensor, Tensor]:
    """The front of extensions of the empty anchor, one branch with one condition for each."""
    precision = torch.tensor([[[[e.precision for e in extensions]]]])
    coverage = torch.tensor([[[[e.coverage for e in extensions]]]])
    chosen, found = best_of(torch.full((1, 1, 1, n_steps), -1), precision, coverage, ERRORS)
    return chosen[0], found[0]


def test_the_front_has_the_largest_coverage_at_each_rate_of_error_and_the_highest_precision() -> None:
    given = [(0.4, 0.9), (0.6, 0.5), (0.7, 0.6), (0.85, 0.1), (0.97, 0.2), (0.98, 0.1)]
    chosen, precision = front_of([Extension(p, c, []) for p, c in given], 2)
    assert chosen.tolist() == [[2, -1], [4, -1], [4, -1], [-1, -1], [5, -1]]
    assert precision[[0, 1, 2, 4]].tolist() == pytest.approx([0.7, 0.97, 0.97, 0.98])
    assert math.isnan(precision[3])  # nothing is that precise


def test_of_equal_coverage_the_more_precise_is_kept() -> None:
    chosen, _ = front_of([Extension(p, 0.25, []) for p in (0.96, 0.99, 0.97)], 1)
    assert chosen[:, 0].tolist() == [1, 1, 1, -1, 1]


def test_what_is_no_extension_is_never_kept() -> None:
    chosen, _ = front_of([Extension(1.0, -torch.inf, []), Extension(0.6, 0.5, [])], 1)
    assert chosen[:, 0].tolist() == [1, -1, -1, -1, 1]
    chosen, precision = front_of([Extension(1.0, -torch.inf, [])], 1)
    assert (chosen == -1).all()
    assert precision.isnan().all()


def test_the_front_is_of_all_steps_and_of_the_first_that_is_as_good() -> None:
    none = -torch.inf
    # Of the empty anchor, then of two branches, each extended by one of two conditions.
    chosen = torch.tensor([[[[-1, -1], [-1, -1]], [[0, -1], [1, -1]]]])
    precision = torch.tensor([[[[0.97, 0.6], [0.97, 0.6]], [[0.96, 0.99], [0.9, 0.7]]]])
    coverage = torch.tensor([[[[0.3, 0.8], [none, none]], [[0.1, 0.2], [0.7, 0.75]]]])
    found, reached = best_of(chosen, precision, coverage, ERRORS)
    assert found[0].tolist() == [[1, -1], [1, 0], [0, -1], [-1, -1], [0, 1]]
    assert reached[0, [0, 1, 2, 4]].tolist() == pytest.approx([0.6, 0.9, 0.97, 0.99])
    found, _ = best_of(chosen, precision[:, :1].expand_as(precision), coverage[:, :1].expand_as(coverage), ERRORS)
    assert found[0].tolist() == [[1, -1], [0, -1], [0, -1], [-1, -1], [0, -1]]


# ------------------------------------------------------------------------------------------------------------ growing


class Problem(NamedTuple):
    """Conditions of two instances; the last condition of the second is padding."""

    sums: Tensor
    change: Tensor
    held: Tensor
    column: Tensor
    size: Tensor


def problem(seed: int = 0) -> Problem:
    rng = torch.Generator().manual_seed(seed)
    column = torch.tensor([[0, 0, 1, 1, 2, 3, 3], [0, 1, 1, 2, 2, 3, -1]])
    size = torch.tensor([[1, 2, 1, 2, 1, 1, 2], [1, 1, 2, 1, 1, 2, 0]])
    change = torch.randn(2, 7, 40, generator=rng) + 1
    held = (torch.rand(2, 7, 60, generator=rng) < 0.6).float()
    return Problem(torch.randn(2, 40, generator=rng), change, held, column, size)


def judged(p: Problem, i: int, conditions: list[int]) -> tuple[float, float]:
    """Precision and coverage of an anchor."""
    precision = (p.sums[i] + p.change[i, conditions].sum(0)).sigmoid().mean()
    covered = int(p.held[i, conditions].prod(0).sum())
    return float(precision), (covered + 0.5) / (p.held.shape[2] + 1)


def naive_growth(p: Problem, i: int, room: int, n_steps: int) -> tuple[list[Extension], list[Extension]]:
    """All extensions that are met, and what the branch that looks at precision alone becomes, step by step."""
    met, first_branch = [], []
    for exchange in EXCHANGE:
        chosen: list[int] = []
        for _ in range(n_steps):
            used = {int(p.column[i, k]) for k in chosen}
            left = room - sum(int(p.size[i, k]) for k in chosen)
            free = [k for k, c in enumerate(p.column[i].tolist()) if c >= 0 and c not in used and p.size[i, k] <= left]
            if not free:
                break
            extensions = [Extension(*judged(p, i, [*chosen, k]), [*chosen, k]) for k in free]
            met += extensions
            best = max(
                extensions, key=lambda e: math.log(e.precision / (1 - e.precision)) + exchange * math.log(e.coverage)
            )
            chosen = best.chosen
            if exchange == 0:
                first_branch.append(best)
    return met, first_branch


@pytest.mark.parametrize(("room", "n_steps"), [(20, 4), (3, 4), (4, 3), (1, 2)])
def test_growing_meets_what_a_loop_meets(room: int, n_steps: int, device: torch.device) -> None:
    p = problem()
    chosen, precision = (t.cpu() for t in grow(*(t.to(device) for t in p), room, n_steps, ERRORS.to(device)))
    n_kept = n_steps - n_steps // 2
    assert chosen.shape == (2, len(ERRORS) + 1 + n_kept, n_steps)
    for i in range(2):
        met, first_branch = naive_growth(p, i, room, n_steps)
        lines = [
            None if math.isnan(found) else [k for k in line if k >= 0]
            for line, found in zip(chosen[i].tolist(), precision[i].tolist(), strict=True)
        ]
        for line, found in zip(lines, precision[i].tolist(), strict=True):
            if line is not None:
                assert found == pytest.approx(judged(p, i, line)[0], abs=1e-5)
                assert sum(int(p.size[i, k]) for k in line) <= room
        for line, error in zip(lines, ERRORS.tolist(), strict=False):
            enough = [e.coverage for e in met if e.precision >= 1 - error]
            assert (line is None) is (not enough)
            if line is not None:
                assert judged(p, i, line)[0] >= 1 - error - 1e-5
                assert judged(p, i, line)[1] == pytest.approx(max(enough), abs=TIE * len(met))
        assert lines[len(ERRORS)] == max(met, key=lambda e: e.precision).chosen
        steps = [first_branch[s].chosen if s < len(first_branch) else None for s in range(n_steps)]
        assert lines[len(ERRORS) + 1 :] == steps[n_steps // 2 :]


def test_an_instance_grows_as_it_does_alone() -> None:
    p = problem(1)
    together = grow(*p, 5, 3, ERRORS)
    for i in range(2):
        alone = grow(*(t[i : i + 1] for t in p), 5, 3, ERRORS)
        assert torch.equal(alone[0][0], together[0][i])
        torch.testing.assert_close(alone[1][0], together[1][i], equal_nan=True)


def test_sums_beyond_all_bounds_give_no_infinity() -> None:
    p = problem(2)
    for far in (1e4, -1e4):
        chosen, precision = grow(p.sums * 0 + far, p.change, p.held, p.column, p.size, 9, 4, ERRORS)
        real = (chosen >= 0).any(-1)
        assert precision[real].isfinite().all()
        assert contributions(p.sums * 0 + far, p.change, chosen).isfinite().all()


def test_contributions_are_differences_of_log_odds() -> None:
    rng = torch.Generator().manual_seed(0)
    sums, change = torch.randn(3, 50, generator=rng), torch.randn(3, 7, 50, generator=rng)
    chosen = torch.tensor([[[0, 4, 6], [2, -1, -1]]]).expand(3, -1, -1)
    adds = contributions(sums, change, chosen)

    def log_odds(i: int, conditions: list[int]) -> Tensor:
        return (sums[i] + change[i, conditions].sum(0)).sigmoid().mean().logit()

    for i in range(3):
        for k, others in enumerate([[4, 6], [0, 6], [0, 4]]):
            assert float(adds[i, 0, k]) == pytest.approx(float(log_odds(i, [0, 4, 6]) - log_odds(i, others)), abs=1e-4)
        assert float(adds[i, 1, 0]) == pytest.approx(float(log_odds(i, [2]) - log_odds(i, [])), abs=1e-4)
        assert adds[i, 1, 1:].tolist() == [0, 0]


def test_growing_stays_on_the_device() -> None:
    with FakeTensorMode():
        chosen, precision = grow(
            torch.zeros(4, 16, device="cuda"),
            torch.zeros(4, 9, 16, device="cuda"),
            torch.ones(4, 9, 32, device="cuda"),
            torch.zeros(4, 9, dtype=torch.int64, device="cuda"),
            torch.ones(4, 9, dtype=torch.int64, device="cuda"),
            room=5,
            n_steps=3,
            errors=torch.zeros(2, device="cuda"),
        )
        adds = contributions(torch.zeros(4, 16, device="cuda"), torch.zeros(4, 9, 16, device="cuda"), chosen)
    assert chosen.device.type == precision.device.type == adds.device.type == "cuda"
    assert chosen.shape == (4, 5, 3)  # 2 rates of error, most precision, the longer half of 3 steps
    assert precision.shape == (4, 5)
