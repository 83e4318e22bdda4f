"""What is necessary, and parts that are fixed or excluded: from the outside, against brute force."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torch_anchors import AnchorImage, ArgumentError, ImageExplanation, Status, load
from torch_anchors.search.protocol import Anchor

K = 8
SEGMENTS = np.arange(K)[None]
IMAGE = torch.ones(1, 1, K)
MASKS = (np.arange(1 << K)[:, None] >> np.arange(K)) & 1 == 1


class Table(nn.Module):
    """Looks up what it returns in a table of all masks of a strip of K pixels; pixel k is shown where it is 1."""

    def __init__(self, answers: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("answers", torch.from_numpy(answers))
        self.register_buffer("powers", 2 ** torch.arange(K))

    def forward(self, images: Tensor) -> Tensor:
        return self.answers[((images.flatten(1) > 0).long() * self.powers).sum(dim=1)]


def margins(seed: int, bias: float = 0.0) -> np.ndarray:
    """How clearly label 1 is given to each mask (2^K,): effects of a few parts, and noise."""
    rng = np.random.default_rng(seed)
    effects = rng.exponential(size=K) * rng.choice([0.2, 2.0], size=K)
    found = (MASKS - 0.5) @ effects + 0.3 * rng.normal(size=len(MASKS)) + bias
    found[-1] = abs(found[-1]) + 0.1
    return found


def logits(seed: int, bias: float = 0.0) -> np.ndarray:
    of_one = margins(seed, bias)
    return np.stack([np.zeros_like(of_one), of_one], axis=1)


def explainer_of(answers: np.ndarray, seed: int = 0, **settings: Any) -> AnchorImage:
    background = torch.zeros(1, 1, 1, K)
    return AnchorImage(Table(answers), segmentation_fn=SEGMENTS, images_background=background, seed=seed, **settings)


def true_precision(
    labels: np.ndarray,
    anchor: Anchor,
    *,
    label: int = 1,
    question: str = "sufficient",
    p_sample: float = 0.5,
    fixed: Anchor = (),
) -> float:
    """The precision as it is defined, mask by mask."""
    hidden = ~MASKS
    holds = (hidden if question == "necessary" else MASKS)[:, list(anchor)].all(axis=1)
    holds &= MASKS[:, list(fixed)].all(axis=1)
    free = [k for k in range(K) if k not in anchor and k not in fixed]
    chance = np.where(hidden[:, free], p_sample, 1 - p_sample).prod(axis=1) * holds
    hits = labels != label if question == "necessary" else labels == label
    return float((chance * hits).sum())


def best(labels: np.ndarray, allowed: list[int], largest: int = K, **asked: Any) -> tuple[int, float] | None:
    """Size and precision of the shortest anchor that reaches 0.95; of several, the most precise one."""
    for size in range(min(largest, len(allowed)) + 1):
        precisions = [true_precision(labels, anchor, **asked) for anchor in combinations(allowed, size)]
        if max(precisions) >= 0.95 - 1e-12:
            return size, max(precisions)
    return None


# ------------------------------------------------------------------------------------------------------ necessity


@pytest.mark.parametrize(("seed", "p_sample"), product(range(12), [0.5, 0.2]))
@pytest.mark.parametrize("question", ["sufficient", "necessary"])
def test_exact_answers_to_both_questions_are_those_of_brute_force(seed: int, p_sample: float, question: str) -> None:
    labels = (margins(seed, bias=0.5) > 0).astype(np.int64)
    found = explainer_of(labels).explain(IMAGE, method="exact", question=question, p_sample=p_sample)
    expected = best(labels, list(range(K)), question=question, p_sample=p_sample)
    asked = {"question": question, "p_sample": p_sample}
    assert found.precision == pytest.approx(true_precision(labels, found.features, **asked))
    assert found.success is (expected is not None)
    if expected is not None:
        assert (len(found.features), found.precision) == (expected[0], pytest.approx(expected[1]))
    p_holds = p_sample if question == "necessary" else 1 - p_sample
    assert found.coverage == pytest.approx(p_holds ** len(found.features))
    for step in found.path:
        assert step.precision == pytest.approx(true_precision(labels, step.anchor, **asked))


@pytest.mark.parametrize("method", ["auto", *(pytest.param(m, marks=pytest.mark.slow) for m in ("beam", "guided"))])
def test_sampled_answers_are_seldom_false_and_their_intervals_hold_the_truth(method: str) -> None:
    n, n_false, n_missed, n_found = 60, 0, 0, 0
    for seed in range(n):
        answers = logits(seed, bias=0.5)
        labels = answers.argmax(axis=1)
        found = explainer_of(answers, seed).explain(IMAGE, method=method, question="necessary", n_covered_ex=0)
        truth = true_precision(labels, found.features, question="necessary")
        low, high = found.precision_interval
        n_found += found.success
        n_false += found.success and truth < 0.95 - 1e-12
        n_missed += not low - 1e-9 <= truth <= high + 1e-9
    assert n_found > n / 3
    assert n_false <= 0.1 * n
    assert n_missed <= 0.1 * n


def test_both_questions_share_batches_and_are_what_they_are_alone() -> None:
    """Three images of one explainer, each asked both questions in the same forward passes or alone."""
    answers = logits(3, bias=0.5)
    images = [IMAGE, IMAGE * 2, IMAGE * 3]
    for method in ("guided", "beam"):
        for question in ("sufficient", "necessary"):
            explainer = explainer_of(answers)
            together = explainer.explain_batch(images, question=question, method=method)
            alone = [explainer.explain(image, question=question, method=method) for image in images]
            for one, other in zip(together, alone, strict=True):
                unlike = {"seconds", "n_calls"}
                same = {name: value for name, value in one.to_dict().items() if name not in unlike}
                assert same == {name: value for name, value in other.to_dict().items() if name not in unlike}


def test_a_planted_part_is_necessary_and_hidden_in_every_example() -> None:
    labels = (MASKS[:, 2] | MASKS[:, 5]).astype(np.int64)  # either will do: both must be hidden
    found = explainer_of(labels).explain(IMAGE, question="necessary")
    assert found.features == (2, 5)
    assert (found.label, found.answer, found.question) == (1, 1, "necessary")
    assert found.examples
    for example in found.examples:
        assert example.image[0, 0, [2, 5]].tolist() == [0, 0]
        assert (example.label, example.hit) == (0, True)
    assert "While superpixels 2 and 5 of 8 are hidden, the model answers something else than label 1" in str(found)


def test_rows_without_a_label_change_nothing() -> None:
    scores = np.where((MASKS[:, 1] & MASKS[:, 3])[:, None], [0.0, 1.0], [np.nan, np.nan])
    found = explainer_of(scores).explain(IMAGE, question="necessary")
    assert not found.success
    assert found.precision == 0.0


def test_of_a_given_label_both_questions_say_what_the_model_answers_for_the_image_itself() -> None:
    labels = np.where(MASKS[:, 0], 2, 1)  # the image itself has label 2
    keeps = explainer_of(labels).explain(IMAGE, label=1)
    assert (keeps.label, keeps.answer, keeps.success) == (1, 2, False)
    assert "For the instance itself the model answers label 2, not label 1." in str(keeps)
    changes = explainer_of(labels).explain(IMAGE, label=1, question="necessary", threshold=0.5, method="exact")
    assert (changes.features, changes.answer, changes.status) == ((), 2, Status.EMPTY_HOLDS)
    assert "answers label 2, not label 1" in str(changes)
    own = explainer_of(labels).explain(IMAGE, label=2, question="necessary")
    assert (own.features, own.answer) == ((0,), 2)
    assert "itself" not in str(own)


def test_an_image_without_an_answer_may_have_a_given_label_explained() -> None:
    scores = np.where(MASKS[:, :2].all(axis=1)[:, None], [np.nan, np.nan], [0.0, 1.0])
    found = explainer_of(scores).explain(IMAGE, label=1)
    assert (found.label, found.answer) == (1, None)
    assert load_again(found).answer is None


# ---------------------------------------------------------------------------------------------------- nearest miss


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("question", ["sufficient", "necessary"])
def test_the_nearest_miss_of_an_enumeration_is_that_of_brute_force(seed: int, question: str) -> None:
    labels = (margins(seed, bias=0.5) > 0).astype(np.int64)
    for n_covered_ex in (10, 0):
        found = explainer_of(labels).explain(IMAGE, method="exact", question=question, n_covered_ex=n_covered_ex)
        miss, n_hidden = found.nearest_miss, (~MASKS).sum(axis=1)
        assert len(miss.changed) == n_hidden[labels == 0].min()
        assert (miss.label, miss.hit) == (0, question == "necessary")
        assert labels[sum(1 << k for k in range(K) if k not in miss.changed)] == 0
        assert miss.image[0, 0].tolist() == [0.0 if k in miss.changed else 1.0 for k in range(K)]
        assert len(found.examples) <= 2 * n_covered_ex


@pytest.mark.parametrize("method", ["beam", "guided"])
def test_the_nearest_miss_is_among_the_rows_that_were_sent(method: str) -> None:
    table, sent = Table(logits(5, bias=0.5)), []

    def model(images: Tensor) -> Tensor:
        answers = table(images)
        n_hidden = (images.flatten(1) == 0).sum(1)
        sent.append(torch.stack([n_hidden, answers.argmax(1)], dim=1))
        return answers

    explainer = explainer_of(logits(5, bias=0.5))
    explainer.reset_predictor(model)
    found = explainer.explain(IMAGE, method=method)
    rows = torch.cat(sent)
    miss = found.nearest_miss
    assert len(miss.changed) == int(rows[rows[:, 1] == 0, 0].min())
    assert f"hides superpixel{'s' if len(miss.changed) > 1 else ''}" in str(found)


def test_there_is_no_miss_where_nothing_changes_the_label() -> None:
    found = explainer_of(np.ones(1 << K, dtype=np.int64)).explain(IMAGE)
    assert found.nearest_miss is None
    assert found.to_dict()["nearest_miss"] is None
    assert "nearest" not in str(found)


def test_rows_without_a_label_are_no_misses_and_fixed_parts_are_not_changed() -> None:
    scores = np.where(MASKS[:, 4][:, None], [0.0, 1.0], [1.0, 0.0])
    scores[~MASKS[:, 1]] = np.nan
    found = explainer_of(scores).explain(IMAGE, fixed=[0, 2], method="exact")
    assert found.nearest_miss.changed == (4,)
    assert found.to_dict()["nearest_miss"] == {"changed": [4], "label": 0}
    assert "Of all images tried, the nearest one with another label hides superpixel 4 alone: label 0." in str(found)


def test_the_nearest_miss_is_in_files_and_in_pictures(tmp_path: Path) -> None:
    found = explainer_of((MASKS[:, 2] & MASKS[:, 5]).astype(np.int64)).explain(IMAGE, n_covered_ex=2)
    again = load_again(found)
    assert (again.nearest_miss.changed, again.nearest_miss.label) == (found.nearest_miss.changed, 0)
    assert torch.equal(again.nearest_miss.image, found.nearest_miss.image)
    assert len(again.examples) == len(found.examples) == 2
    titles = [axes.get_title(loc="left") for axes in found.plot().axes]
    assert titles[-1] == "Nearest miss"
    document = found._document()
    del document.data["explanation"]["rows"]["has_nearest"]
    earlier = ImageExplanation.of_document(document)
    assert earlier.nearest_miss is None


# ----------------------------------------------------------------------------------------------------- constraints


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("question", ["sufficient", "necessary"])
def test_fixed_parts_are_always_shown_and_the_rest_is_exact(seed: int, question: str) -> None:
    labels = (margins(seed, bias=0.5) > 0).astype(np.int64)
    fixed = tuple(sorted(np.random.default_rng(seed).choice(K, 3, replace=False).tolist()))
    found = explainer_of(labels).explain(IMAGE, method="exact", question=question, fixed=fixed)
    assert found.fixed == fixed
    assert found.n_rows == 2 ** (K - 3)
    expected = best(labels, [k for k in range(K) if k not in fixed], question=question, fixed=fixed)
    assert found.success is (expected is not None)
    assert not set(found.features) & set(fixed)
    assert found.precision == pytest.approx(true_precision(labels, found.features, question=question, fixed=fixed))
    if expected is not None:
        assert len(found.features) == expected[0]
        assert found.coverage == 0.5 ** expected[0]
    for step in found.path:
        assert step.precision == pytest.approx(true_precision(labels, step.anchor, question=question, fixed=fixed))
    for example in found.examples:
        assert (example.image[0, 0, list(fixed)] == 1).all()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("question", ["sufficient", "necessary"])
@pytest.mark.parametrize("method", ["exact", "beam", "guided"])
def test_excluded_parts_vary_and_are_in_no_anchor(seed: int, question: str, method: str) -> None:
    answers = logits(seed, bias=0.5)
    labels = answers.argmax(axis=1)
    explainer = explainer_of(answers)
    free = explainer.explain(IMAGE, method="exact", question=question)
    exclude = free.features[:1] or (0,)
    found = explainer.explain(IMAGE, method=method, question=question, exclude=exclude)
    assert found.excluded == exclude
    for step in found.path:
        assert not set(step.anchor) & set(exclude)
    assert not set(found.features) & set(exclude)
    if method == "exact":
        expected = best(labels, [k for k in range(K) if k not in exclude], question=question)
        assert found.success is (expected is not None)
        assert expected is None or len(found.features) == expected[0]
        assert found.precision == pytest.approx(true_precision(labels, found.features, question=question))


@pytest.mark.parametrize("method", ["exact", "beam", "guided", "auto"])
def test_where_no_part_is_left_for_an_anchor_the_empty_one_is_reported(method: str) -> None:
    answers = np.where(MASKS[:, 1][:, None], [0.0, 1.0], [1.0, 0.0])
    explainer = explainer_of(answers)
    found = explainer.explain(IMAGE, method=method, exclude=range(1, K), fixed=0)
    assert (found.features, found.success, found.status) == ((), False, Status.NOT_FOUND)
    assert found.precision == pytest.approx(0.5, abs=0.2)
    assert "That leaves none for an anchor." in str(found)
    always = explainer_of(np.ones(1 << K, dtype=np.int64))
    assert always.explain(IMAGE, method=method, exclude=range(K)).status is Status.EMPTY_HOLDS


def test_regions_are_masks_and_callables_in_a_batch() -> None:
    labels = (MASKS[:, 2] & MASKS[:, 5]).astype(np.int64)
    explainer = explainer_of(labels)
    left = torch.arange(K)[None] < 4
    for region in (left, left.numpy(), lambda image, segments: segments < 4, range(4)):
        found = explainer.explain_batch([IMAGE, IMAGE], fixed=region)
        assert [one.fixed for one in found] == [(0, 1, 2, 3)] * 2
        assert [one.features for one in found] == [(5,)] * 2
    params = explainer.explain(IMAGE, fixed=left).params
    assert params["fixed"].startswith("mask ")
    assert "exclude" not in params


def test_both_a_region_that_is_fixed_and_one_that_is_excluded() -> None:
    labels = (MASKS[:, [0, 2, 5]].sum(axis=1) >= 2).astype(np.int64)
    found = explainer_of(labels).explain(IMAGE, fixed=[0], exclude=[5])
    assert (found.features, found.fixed, found.excluded) == ((2,), (0,), (5,))


def test_narration_calls_superpixels_by_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    labels = (MASKS[:, 2] & MASKS[:, 5]).astype(np.int64)
    explainer_of(labels).explain(IMAGE, fixed=[0, 1, 3], method="beam", verbose=True)
    assert "anchor (2, 5): " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"question": "counterfactual"}, "question must be one of 'sufficient', 'necessary', got 'counterfactual'"),
        ({"question": None}, "question must be one of"),
        ({"fixed": range(K)}, "fixed must leave a superpixel that may be hidden, got all 8 of them"),
        ({"fixed": [K]}, "fixed must be .* superpixels 0 to 7"),
        ({"exclude": "sky"}, "exclude must be numbers of superpixels"),
        ({"exclude": np.zeros((1, K), dtype=bool)}, "exclude must hold more than half of some superpixel"),
    ],
)
def test_constraints_that_cannot_work(given: dict[str, Any], complaint: str, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        explainer_of(np.ones(1 << K, dtype=np.int64)).explain(IMAGE, **given)


# ------------------------------------------------------------------------------------------------------- and beyond


def load_again(explanation: ImageExplanation) -> ImageExplanation:
    return ImageExplanation.from_json(explanation.to_json())


def test_files_keep_what_was_asked(tmp_path: Path) -> None:
    labels = (MASKS[:, 2] | MASKS[:, 5]).astype(np.int64)
    found = explainer_of(labels).explain(IMAGE, question="necessary", fixed=[0], exclude=[1, 3])
    found.save(tmp_path / "anchor.json")
    again = load(tmp_path / "anchor.json")
    assert again.to_dict() == found.to_dict()
    assert str(again) == str(found)
    assert (again.question, again.fixed, again.excluded, again.answer) == ("necessary", (0,), (1, 3), 1)
    found.plot(path=tmp_path / "before.png")
    again.plot(path=tmp_path / "after.png")
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()


def test_metadata_is_as_it_was_unless_something_else_is_asked() -> None:
    explainer = explainer_of(np.ones(1 << K, dtype=np.int64))
    assert not {"question", "fixed", "exclude"} & set(explainer.explain(IMAGE).params)
    params = explainer.explain(IMAGE, question="necessary", fixed=[1]).params
    assert (params["question"], params["fixed"]) == ("necessary", [1])
