"""Keep-masks and their codes, and the distribution that masks are drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tests.engine.cases import Strip
from torch_anchors.errors import ArgumentError
from torch_anchors.perturb.mask_sampler import MOST_BACKGROUNDS, MaskSampler, check_p_sample, shown_together
from torch_anchors.perturb.masks import every_mask
from torch_anchors.perturb.protocol import Order, Sampler
from torch_anchors.search.protocol import EnumerateRequest, GroupedRequest, SampleRequest

K = 7


def drawn(sampler: MaskSampler, request: Any, seed: int = 0) -> torch.Tensor:
    (codes,) = sampler.draw([Order(request, np.random.default_rng(seed))])
    return codes


# ------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("p_sample", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("anchor", [(), (1, 4)])
def test_masks_are_drawn_independently_with_chance_one_minus_p(p_sample: float, anchor: tuple[int, ...]) -> None:
    """Chi-square of all joint masks of the free parts against the product distribution."""
    n, free = 40_000, [k for k in range(5) if k not in anchor]
    sampler = Strip(5, p_sample=p_sample)
    keep = sampler.keep(drawn(sampler, SampleRequest(anchor, n), seed=11)).numpy()
    assert keep[:, list(anchor)].all()
    observed = np.bincount(keep[:, free] @ (1 << np.arange(len(free))), minlength=1 << len(free))
    sizes = np.array([bin(m).count("1") for m in range(1 << len(free))])
    expected = n * (1 - p_sample) ** sizes * p_sample ** (len(free) - sizes)
    common = expected >= 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], expected[~common].sum())
    assert chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-4


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("n_backgrounds", [1, 3])
def test_predicates_of_a_group_hold_together_and_groups_independently(hides: bool, n_backgrounds: int) -> None:
    n, groups = 20_000, (2, 0, 0, 1, 2)
    sampler = Strip(5, n_backgrounds, p_sample=0.3, hides=hides)
    codes = drawn(sampler, GroupedRequest(groups, n), seed=3)
    keep = sampler.keep(codes).numpy()
    assert np.array_equal(keep[:, 1], keep[:, 2])
    assert np.array_equal(keep[:, 0], keep[:, 4])
    of_groups = keep[:, [1, 3, 0]].astype(float)
    assert of_groups.mean(0) == pytest.approx([sampler.p_keep] * 3, abs=0.02)
    assert np.corrcoef(of_groups.T)[np.triu_indices(3, 1)] == pytest.approx([0] * 3, abs=0.03)
    assert len(set(sampler.background(codes).tolist())) == n_backgrounds


def test_coarser_views_are_about_the_parts_that_vary() -> None:
    levels = (np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 2, 2]))
    space = Strip(5, fixed=(1, 4), levels=levels).space()
    assert [level.tolist() for level in space.levels] == [[0, 0, 1], [0, 1, 2]]
    assert Strip(5).space().levels == ()


@pytest.mark.parametrize("p_sample", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("anchor", [(), (1, 2)])
def test_what_is_necessary_is_hidden_and_the_rest_with_chance_p(p_sample: float, anchor: tuple[int, ...]) -> None:
    n, sampler = 20_000, Strip(5, p_sample=p_sample, hides=True)
    codes = drawn(sampler, SampleRequest(anchor, n), seed=5)
    shown, holds = sampler.shown(codes), sampler.keep(codes)
    assert torch.equal(shown, ~holds)
    assert not shown[:, list(anchor)].any()
    free = [k for k in range(5) if k not in anchor]
    assert holds[:, free].double().mean(0).numpy() == pytest.approx([p_sample] * len(free), abs=0.02)
    space = sampler.space()
    assert (space.p_keep, space.coverage(anchor)) == (p_sample, p_sample ** len(anchor))
    assert sampler.shown(sampler.instance_code()).all()
    assert not sampler.keep(sampler.instance_code()).any()


def test_both_questions_draw_the_same_rows_of_the_empty_anchor() -> None:
    for fixed in ((), (0, 3)):
        samplers = [Strip(K, 3, hides=hides, fixed=fixed) for hides in (False, True)]
        codes = [drawn(sampler, SampleRequest((), 500)) for sampler in samplers]
        shown = [sampler.shown(own) for sampler, own in zip(samplers, codes, strict=True)]
        assert torch.equal(*shown)
        assert torch.equal(*(sampler.background(own) for sampler, own in zip(samplers, codes, strict=True)))
        of_instance = shown[0].all(1)
        assert of_instance.any()
        assert all(
            (sampler.background(own)[of_instance] == 0).all() for sampler, own in zip(samplers, codes, strict=True)
        )


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("fixed", [(0,), (2, 5, 6), (0, 1, 2, 3, 4, 5)])
def test_fixed_parts_are_shown_in_every_row_and_are_no_predicates(fixed: tuple[int, ...], hides: bool) -> None:
    sampler = Strip(K, fixed=fixed, hides=hides)
    varying = [k for k in range(K) if k not in fixed]
    assert (sampler.n_parts, sampler.n_predicates, sampler.numbers) == (K, len(varying), varying)
    assert sampler.space().n_rows(()) == 2 ** len(varying)
    codes = drawn(sampler, EnumerateRequest(()))
    shown = sampler.shown(codes)
    assert len(codes.unique(dim=0)) == len(shown.unique(dim=0)) == 2 ** len(varying)
    assert shown[:, list(fixed)].all()
    assert torch.equal(shown[:, varying], sampler.keep(codes) ^ hides)
    assert sampler.shown(sampler.instance_code()).all()


def test_what_is_shown_in_rows_of_many_instances_is_read_together() -> None:
    """Of few and many parts, fixed ones, hidden ones, and several backgrounds."""
    samplers = [
        Strip(5),
        Strip(K, fixed=(2, 5), hides=True),
        Strip(19),
        Strip(4, n_backgrounds=3, hides=True),
        Strip(20, fixed=tuple(range(1, 20))),
    ]
    runs = [(sampler, drawn(sampler, SampleRequest((0,), 3 + i), seed=i)) for i, sampler in enumerate(samplers)]
    for given_runs in (runs, runs[3:4], runs[4:], [runs[2], runs[0], runs[2]]):
        together, start = shown_together(given_runs), 0
        for sampler, codes in given_runs:
            own = together[start : start + len(codes), : sampler.n_parts]
            np.testing.assert_array_equal(own, sampler.shown(codes).numpy())
            start += len(codes)
        assert start == len(together)


def test_excluded_parts_are_predicates_that_no_anchor_may_have() -> None:
    sampler = Strip(K, fixed=(1, 3), exclude=(3, 4, 6))
    space = sampler.space()
    assert sampler.numbers == [0, 2, 4, 5, 6]
    assert space.excluded == {2, 4}
    assert space.allowed((0,)) == [1, 3]
    assert Strip(K).space().excluded == frozenset()
    assert Strip(K).numbers is None


def test_something_must_vary() -> None:
    with pytest.raises(ArgumentError, match="fixed must leave at least one part that varies, got all 7"):
        Strip(K, fixed=range(K))


def test_backgrounds_are_equally_likely_and_independent_of_the_mask() -> None:
    sampler = Strip(K, n_backgrounds=4)
    codes = drawn(sampler, SampleRequest((), 20_000), seed=2)
    keep, background = sampler.keep(codes).numpy(), sampler.background(codes).numpy()
    rest = ~keep.all(1)
    observed = np.zeros((2, 4))
    np.add.at(observed, (keep[rest, 0].astype(int), background[rest]), 1)
    expected = observed.sum(1, keepdims=True) / 4 @ np.ones((1, 4))
    assert chisquare(observed.ravel(), expected.ravel(), ddof=1).pvalue > 1e-4


@pytest.mark.parametrize("n_backgrounds", [1, 3])
def test_each_request_is_drawn_from_its_own_stream(n_backgrounds: int) -> None:
    sampler = Strip(K, n_backgrounds)
    requests = [SampleRequest((0,), 9), SampleRequest((), 5), SampleRequest((3, 6), 0), SampleRequest((1,), 70)]
    together = sampler.draw([Order(r, np.random.default_rng(i)) for i, r in enumerate(requests)])
    alone = [sampler.draw([Order(r, np.random.default_rng(i))])[0] for i, r in enumerate(requests)]
    assert [len(codes) for codes in together] == [9, 5, 0, 70]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))
    assert all(codes.dtype == torch.uint8 and codes.device.type == "cpu" for codes in together)


def test_requests_of_one_stream_are_drawn_one_after_the_other() -> None:
    sampler, rng, again = Strip(K), np.random.default_rng(3), np.random.default_rng(3)
    requests = [SampleRequest((0,), 9), EnumerateRequest((1, 2, 3, 4, 5)), SampleRequest((), 5)]
    together = sampler.draw([Order(request, rng) for request in requests])
    singly = [sampler.draw([Order(request, again)])[0] for request in requests]
    assert all(torch.equal(a, b) for a, b in zip(together, singly, strict=True))
    assert not torch.equal(together[2], singly[0][:5])


@pytest.mark.parametrize("anchor", [(), (2,), (0, 1, 2, 3, 4, 5, 6)])
@pytest.mark.parametrize("n_backgrounds", [1, 3])
def test_an_enumeration_has_every_row_once_backgrounds_together(anchor: tuple[int, ...], n_backgrounds: int) -> None:
    sampler = Strip(K, n_backgrounds)
    codes = drawn(sampler, EnumerateRequest(anchor))
    keep = sampler.keep(codes).numpy()
    np.testing.assert_array_equal(keep, every_mask(anchor, K).repeat(n_backgrounds, axis=0))
    assert len(codes) == sampler.space().n_rows(anchor)
    if n_backgrounds > 1:
        background = sampler.background(codes).numpy().reshape(-1, n_backgrounds)
        partial = ~keep[::n_backgrounds].all(1)
        assert (background[partial] == np.arange(n_backgrounds)).all()
        assert (background[~partial] == 0).all()


def test_an_enumeration_takes_nothing_from_the_stream() -> None:
    rng = np.random.default_rng(5)
    Strip(K, n_backgrounds=2).draw([Order(EnumerateRequest(()), rng)])
    assert rng.random() == np.random.default_rng(5).random()


def test_a_row_that_shows_all_is_one_row_whatever_its_background() -> None:
    sampler = Strip(K, n_backgrounds=8)
    codes = drawn(sampler, SampleRequest(tuple(range(K)), 30))
    assert torch.equal(codes, sampler.instance_code().expand_as(codes))


# --------------------------------------------------------------------------------------------------------- codes


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 300), st.lists(st.integers(0, 1 << 15), min_size=1, max_size=20))
def test_codes_carry_masks_and_backgrounds_of_any_number(n_backgrounds: int, numbers: list[int]) -> None:
    sampler = Strip(K, n_backgrounds)
    rng = np.random.default_rng(numbers)
    keep = rng.random((len(numbers), K)) < 0.5
    keep[keep.all(1), 0] = False
    background = np.array(numbers, dtype=np.uint16) % n_backgrounds
    codes = sampler._codes(keep, background.astype(np.uint16))
    np.testing.assert_array_equal(sampler.keep(codes).numpy(), keep)
    np.testing.assert_array_equal(sampler.background(codes).numpy(), background)


@pytest.mark.parametrize(
    ("n_parts", "n_backgrounds", "width"), [(7, 1, 1), (8, 1, 1), (9, 1, 2), (9, 2, 4), (7, 300, 3)]
)
def test_a_code_has_a_bit_for_each_part_and_two_bytes_for_a_background(
    n_parts: int, n_backgrounds: int, width: int
) -> None:
    sampler = Strip(n_parts, n_backgrounds)
    assert sampler.instance_code().shape == (1, width)
    assert drawn(sampler, SampleRequest((), 5)).shape == (5, width)
    assert drawn(sampler, EnumerateRequest(tuple(range(n_parts - 1)))).shape == (2 * n_backgrounds, width)


@pytest.mark.parametrize("n_backgrounds", [1, 3])
def test_the_instance_shows_every_part(n_backgrounds: int) -> None:
    sampler = Strip(K, n_backgrounds)
    assert sampler.keep(sampler.instance_code()).tolist() == [[True] * K]
    assert sampler.render(sampler.instance_code()).tolist() == [[[[1.0] * K]]]


@pytest.mark.parametrize("n_backgrounds", [1, 3])
def test_the_host_knows_parts_and_finds_anchors_as_a_loop_does(n_backgrounds: int, device: torch.device) -> None:
    sampler = Strip(11, n_backgrounds, device=device)
    codes = drawn(sampler, SampleRequest((4,), 60))
    keep = sampler.keep(codes.to(device))
    assert keep.device.type == device.type
    rows = keep.tolist()
    assert sampler.kept(codes.numpy()).tolist() == rows
    for anchor in [(), (4,), (0, 9), (1, 4, 10)]:
        assert sampler.holds(codes.numpy(), anchor).tolist() == [all(row[k] for k in anchor) for row in rows]


# ---------------------------------------------------------------------------------------------- what others are told


def test_what_the_search_is_told() -> None:
    sampler = Strip(K, n_backgrounds=2, p_sample=0.2)
    space = sampler.space()
    assert isinstance(sampler, Sampler)
    assert space.n_predicates == sampler.n_predicates == K
    assert space.coverage((1, 4)) == pytest.approx(0.8**2)
    assert space.coverage(()) == 1.0
    assert space.n_rows((1, 4)) == 2**5 * 2
    assert space.p_keep == pytest.approx(0.8)
    assert space.independent


def test_rows_whose_answers_vary_cannot_be_counted() -> None:
    sampler = Strip(K, n_backgrounds=2, repeatable=False)
    assert not sampler.repeatable
    assert sampler.space().n_rows(()) is None
    assert sampler.space().n_rows(tuple(range(K))) is None
    assert sampler.space().independent


def test_what_the_engine_is_told() -> None:
    sampler = Strip(K, height=4, dtype=torch.float16, device="meta")
    assert sampler.independent
    assert sampler.repeatable
    rows = sampler.empty(3)
    assert rows.shape == (3, *sampler.row_shape()) == (3, 1, 4, K)
    assert (rows.dtype, rows.device.type) == (torch.float16, "meta")


@pytest.mark.parametrize("p_sample", [0.0, 1.01, -0.5, 1.5, float("nan")])
def test_p_sample_must_be_a_probability(p_sample: float) -> None:
    message = r"p_sample must be a probability in \(0, 1\], got"
    with pytest.raises(ArgumentError, match=message):
        Strip(p_sample=p_sample)
    with pytest.raises(ArgumentError, match=message):
        check_p_sample(p_sample)
    check_p_sample(1e-9)
    check_p_sample(1.0)


def test_nothing_but_the_anchor_is_shown_where_all_else_is_absent() -> None:
    sampler = Strip(K, p_sample=1.0)
    keep = sampler.keep(drawn(sampler, SampleRequest((1, 4), 50))).numpy()
    assert np.array_equal(keep, np.isin(np.arange(K), (1, 4))[None].repeat(50, axis=0))
    assert (sampler.space().coverage(()), sampler.space().coverage((1,)), sampler.space().p_keep) == (1, 0, 0)


def test_too_many_backgrounds_are_refused() -> None:
    assert Strip(n_backgrounds=MOST_BACKGROUNDS).n_backgrounds == 65536
    with pytest.raises(ArgumentError, match="images_background must have at most 65536 images, got 65537"):
        Strip(n_backgrounds=MOST_BACKGROUNDS + 1)


def test_the_last_background_has_a_number() -> None:
    sampler = Strip(K, n_backgrounds=MOST_BACKGROUNDS)
    codes = sampler._codes(np.zeros((2, K), dtype=bool), np.array([0, MOST_BACKGROUNDS - 1], dtype=np.uint16))
    assert sampler.background(codes).tolist() == [0, 65535]


def test_a_modality_says_what_its_rows_look_like() -> None:
    with pytest.raises(TypeError, match="abstract"):
        MaskSampler(4)  # type: ignore[abstract]


def test_parts_that_are_fixed_have_nothing_of_the_predicates_numbers() -> None:
    values = np.array([0.5, -0.25, 0.125])
    assert Strip(3).of_parts(values).tolist() == values.tolist()
    assert Strip(5, fixed=[0, 3]).of_parts(values).tolist() == [0, 0.5, -0.25, 0, 0.125]
