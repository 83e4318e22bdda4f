"""The benchmark for a GPU, as small as it is where there is none; with `--device cuda` on the GPU itself."""

from __future__ import annotations

import pytest
import torch

from tests.benchmarks import gpu
from tests.benchmarks.gpu import HEADING, Planted, Size, Small, crops, table


def test_the_table_has_a_line_for_each_network_and_way_to_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "N_REPEATS", 1)
    about, heading, *lines = table(torch.device("cpu"), gpu.ON_CPU)
    assert about == "2 crops of 32 x 32, batches of 32, on a CPU, which shows that the script works"
    assert heading == HEADING
    assert [one.split()[:2] for one in lines] == [["small", "fp32"], ["small", "bf16"]]
    for one in lines:
        n_rows, rows_per_second, explained_per_second = (float(word.replace(",", "")) for word in one.split()[2:5])
        assert n_rows > 100
        assert rows_per_second > explained_per_second > 0
        assert 0 < float(one.split()[5].rstrip("%")) < 100


def test_the_label_is_whether_three_patches_are_shown_and_the_network_works_for_it() -> None:
    calls: list[int] = []
    network = Small()
    network.register_forward_hook(lambda module, rows, scores: calls.append(len(rows[0])))
    rows = torch.ones(3, 3, 32, 32)
    rows[1, :, :2, :2] = 0
    rows[2, :, 10, 20] = 0
    assert Planted(network)(rows).argmax(1).tolist() == [1, 0, 1]
    assert calls == [3]


def test_crops_are_the_same_in_every_run_and_nowhere_black() -> None:
    size = Size(side=24, n_images=5, max_rows=1)
    first, second = crops(size), crops(size)
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert min(float(crop.min()) for crop in first) > 0
    assert first[0].shape == (3, 24, 24)


@pytest.mark.slow
def test_on_a_gpu_the_real_networks_are_measured(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    lines = list(table(device, Size(224, 4, 64)))
    assert len(lines) == 2 + 9
