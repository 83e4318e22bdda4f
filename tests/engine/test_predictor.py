"""Labels from any user's model: what it may return, what it is given, and what is said when it fails."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights

from torch_anchors.engine.max_rows import is_out_of_memory
from torch_anchors.engine.predictor import Predictor
from torch_anchors.errors import AnchorsWarning, ArgumentError, PredictorCallError, PredictorReturnTypeError
from torch_anchors.targets.values import Within

LOGITS = torch.tensor([[0.1, 2.0, -1.0], [3.0, -2.0, 0.5], [-1.0, -2.0, -0.5], [0.0, 1.0, 0.5]])
LABELS = [1, 0, 2, 1]


class Classifier(nn.Module):
    """Mean of each channel, with submodules whose mode matters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Dropout(0.9), nn.BatchNorm2d(3))
        nn.init.dirac_(self.body[0].weight)
        self.seen: list[dict[str, Any]] = []

    def forward(self, rows: Tensor) -> Tensor:
        self.seen.append(
            {
                "training": [module.training for module in self.modules()],
                "inference": torch.is_inference_mode_enabled(),
                "autocast": torch.is_autocast_enabled(rows.device.type),
                "dtype": rows.dtype,
                "shape": tuple(rows.shape),
                "channels_last": rows.is_contiguous(memory_format=torch.channels_last) and not rows.is_contiguous(),
            }
        )
        return self.body(rows).mean((2, 3))


def rows_of(n: int, device: torch.device, channels: int = 3) -> Tensor:
    """Images of which image i is brightest in channel i % channels."""
    rows = torch.zeros(n, channels, 4, 5, device=device)
    rows[torch.arange(n), torch.arange(n) % channels] = 1.0
    return rows


def test_labels_are_read_from_the_output(device: torch.device) -> None:
    """More of it in tests/engine/test_outputs.py."""
    predictor = Predictor(lambda rows: LOGITS, device=device)
    assert predictor.n_classes is None
    assert predictor(torch.zeros(4, 1, device=device)).tolist() == LABELS
    assert predictor.n_classes == 3
    assert predictor.class_names == ()
    named = Predictor(lambda rows: np.array(["b", "a"]), dtype=np.float32)
    named(torch.zeros(2, 1))
    assert (named.n_classes, named.class_names) == (None, ("a", "b"))


def test_a_module_is_called_with_its_own_rows_and_agrees_with_argmax(device: torch.device) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 7)).to(device)
    rows = torch.rand(9, 3, 4, 5, device=device)
    assert torch.equal(Predictor(model)(rows), model(rows).argmax(1))


# ------------------------------------------------------------------------------------------------- what it is given


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.dtype("float16")])
def test_an_array_callable_gets_nhwc_arrays_of_its_type(dtype: Any) -> None:
    seen: list[np.ndarray] = []

    def predict(rows: np.ndarray) -> np.ndarray:
        seen.append(rows)
        return rows.mean((1, 2))

    rows = rows_of(5, torch.device("cpu"))
    assert Predictor(predict, dtype=dtype)(rows).tolist() == [0, 1, 2, 0, 1]
    (array,) = seen
    assert type(array) is np.ndarray
    assert array.shape == (5, 4, 5, 3)
    assert array.dtype == np.dtype(dtype)
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, rows.permute(0, 2, 3, 1).numpy())


def test_an_array_callable_gets_table_rows_as_they_are() -> None:
    seen: list[np.ndarray] = []
    predictor = Predictor(lambda rows: seen.append(rows) or rows, dtype=np.float64)
    table = torch.randn(6, 3)
    assert torch.equal(predictor(table), table.argmax(1))
    assert seen[0].shape == (6, 3)
    assert seen[0].dtype == np.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8])
def test_a_tensor_callable_gets_its_dtype(dtype: torch.dtype, device: torch.device) -> None:
    seen: list[Tensor] = []
    predictor = Predictor(lambda rows: seen.append(rows) or rows.float().mean((2, 3)), dtype=dtype, device=device)
    assert predictor(rows_of(3, device)).tolist() == [0, 1, 2]
    assert seen[0].dtype == dtype
    assert seen[0].device.type == device.type


@pytest.mark.parametrize(
    ("model", "dtype", "expected"),
    [
        (nn.Flatten(), torch.float32, torch.float32),
        (nn.Flatten(), torch.bfloat16, torch.bfloat16),
        (len, np.float64, torch.float64),
        (len, np.dtype("uint8"), torch.uint8),
        (len, np.float16, torch.float16),
    ],
)
def test_rows_are_made_in_the_type_that_the_model_takes(model: Any, dtype: Any, expected: torch.dtype) -> None:
    assert Predictor(model, dtype=dtype).row_dtype == expected


def test_the_module_runs_in_eval_and_inference_mode(device: torch.device) -> None:
    model = Classifier().to(device)
    assert Predictor(model)(rows_of(3, device)).tolist() == [0, 1, 2]
    assert model.seen[0]["inference"]
    assert not any(model.seen[0]["training"])
    assert model.training


@pytest.mark.parametrize("fails", [False, True])
def test_the_mode_of_every_submodule_is_restored(fails: bool) -> None:
    model = Classifier().train()
    model.body[2].eval()  # a frozen batch norm
    before = {name: module.training for name, module in model.named_modules()}
    statistics = model.body[2].running_mean.clone()
    rows = torch.zeros(2, 5 if fails else 3, 4, 4)
    if fails:
        with pytest.raises(PredictorCallError):
            Predictor(model)(rows)
    else:
        Predictor(model)(rows)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert torch.equal(model.body[2].running_mean, statistics)


def test_a_session_spans_several_calls_and_restores_the_mode_when_interrupted() -> None:
    model = Classifier().train()
    predictor = Predictor(model)

    def interrupted() -> None:
        with predictor.session():
            assert not any(module.training for module in model.modules())
            predictor(rows_of(1, torch.device("cpu")))
            assert not any(module.training for module in model.modules())
            assert torch.is_inference_mode_enabled()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(module.training for module in model.modules())
    assert not torch.is_inference_mode_enabled()


def test_nested_sessions_restore_the_mode_at_the_end_of_the_outermost() -> None:
    model = Classifier().train()
    predictor = Predictor(model)
    with predictor.session():
        with predictor.session():
            predictor(rows_of(1, torch.device("cpu")))
        assert not any(module.training for module in model.modules())
        assert torch.is_inference_mode_enabled()
    assert all(module.training for module in model.modules())
    assert not torch.is_inference_mode_enabled()


def test_rows_are_predicted_twice_only_where_that_was_asked_for_and_only_at_first() -> None:
    sizes: list[int] = []

    def model(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return rows

    predictor = Predictor(model, check_repeats=True)
    for _ in range(5):
        assert predictor(torch.eye(40)).tolist() == list(range(40))
    assert sizes == [40, 8, 8, 4, 8, 8, 4] * 2 + [40] * 3
    assert predictor.repeats
    sizes.clear()
    predictor = Predictor(model)
    predictor(torch.eye(40))
    assert sizes == [40]
    assert predictor.repeats


def test_a_model_whose_answers_vary_is_told_once_and_answers_as_before() -> None:
    rng = torch.Generator().manual_seed(0)
    answers: list[Tensor] = []

    def model(rows: Tensor) -> Tensor:
        answers.append(torch.randint(4, (len(rows),), generator=rng))
        return answers[-1]

    predictor = Predictor(model, check_repeats=True)
    with pytest.warns(AnchorsWarning, match="another label when it was asked again"):
        labels = predictor(torch.zeros(40, 1))
    assert torch.equal(labels, answers[0])
    assert not predictor.repeats
    predictor(torch.zeros(40, 1))  # a second warning would be an error here
    assert [len(labels) for labels in answers] == [40, 8, 8, 4, 8, 8, 4, 40]


def test_autocast_is_on_only_where_it_was_asked_for(device: torch.device) -> None:
    model = Classifier().to(device)
    Predictor(model)(rows_of(1, device))
    Predictor(model, autocast=torch.bfloat16)(rows_of(1, device))
    assert [call["autocast"] for call in model.seen] == [False, True]
    assert not torch.is_autocast_enabled(device.type)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_rows_follow_the_memory_format_of_the_weights(layout: torch.memory_format) -> None:
    model = nn.Sequential(Classifier(), nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 8, 3, padding=1), nn.Flatten())
    model = model.to(memory_format=layout)
    Predictor(model)(rows_of(2, torch.device("cpu")))
    assert model[0].seen[0]["channels_last"] is (layout is torch.channels_last)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_memory_format_can_be_set(channels_last: bool) -> None:
    model = Classifier()
    Predictor(model, channels_last=channels_last)(rows_of(2, torch.device("cpu")))
    assert model.seen[0]["channels_last"] is channels_last


def test_preprocess_is_applied_before_the_cast(device: torch.device) -> None:
    seen: list[torch.dtype] = []

    def preprocess(rows: Tensor) -> Tensor:
        seen.append(rows.dtype)
        return rows.double() / 255

    model = Classifier().to(device)
    rows = (255 * rows_of(3, device)).to(torch.uint8)
    assert Predictor(model, preprocess=preprocess)(rows).tolist() == [0, 1, 2]
    assert seen == [torch.uint8]
    assert model.seen[0]["dtype"] == torch.float32


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_torchvision_presets_work_as_preprocess(dtype: torch.dtype, device: torch.device) -> None:
    preset = ResNet18_Weights.DEFAULT.transforms()
    seen: list[Tensor] = []
    predictor = Predictor(lambda rows: seen.append(rows) or rows.mean((2, 3)), preprocess=preset, device=device)
    rows = torch.rand(2, 3, 300, 280, device=device)
    rows = (255 * rows).to(dtype) if dtype == torch.uint8 else rows
    predictor(rows)
    assert seen[0].shape == (2, 3, 224, 224)
    torch.testing.assert_close(seen[0], preset(rows))


def test_static_shapes_are_for_accelerators_and_compiled_modules() -> None:
    model = Classifier()
    assert not Predictor(model).static_shapes
    assert Predictor(torch.compile(model)).static_shapes
    assert Predictor(lambda rows: rows, device="meta").static_shapes


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_scripted_module_is_in_eval_mode() -> None:
    model = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(60, 4))).train()
    rows = torch.rand(9, 3, 4, 5)
    expected = model.eval()(rows).argmax(1)
    assert torch.equal(Predictor(model.train())(rows), expected)
    assert all(module.training for module in model.modules())


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_traced_module_works() -> None:
    layers = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(60, 4)).eval()
    model = torch.jit.trace(layers, torch.rand(2, 3, 4, 5))
    rows = torch.rand(3, 3, 4, 5)
    assert torch.equal(Predictor(model)(rows), model(rows).argmax(1))


def test_a_forward_pass_that_calls_train_is_put_right() -> None:
    class Insisting(Classifier):
        def forward(self, rows: Tensor) -> Tensor:
            scores = super().forward(rows)
            self.train()
            return scores

    model = Insisting().eval()
    model.body[0].train()
    before = {name: module.training for name, module in model.named_modules()}
    predictor = Predictor(model)
    with predictor.session():
        for _ in range(3):
            assert predictor(rows_of(3, torch.device("cpu"))).tolist() == [0, 1, 2]
    assert [call["training"] for call in model.seen] == [[False] * 5] * 3
    assert {name: module.training for name, module in model.named_modules()} == before


def test_a_model_that_writes_to_its_rows_is_compared_on_what_it_was_given() -> None:
    def model(rows: Tensor) -> Tensor:
        return rows.sub_(rows[:, :1].clone()).sign()[:, 1].long()

    rows = torch.randn(64, 2)
    predictor = Predictor(model, check_repeats=True)
    for _ in range(3):
        predictor(rows.clone())
    assert predictor.repeats


# ------------------------------------------------------------------------------------------------- failures


def test_a_failure_of_the_model_is_wrapped_once_with_its_context() -> None:
    def fail(rows: Tensor) -> Tensor:
        raise KeyError("no such layer")

    with pytest.raises(PredictorCallError, match=r"predictor raised KeyError: 'no such layer'") as caught:
        Predictor(fail)(torch.zeros(2, 3, 4, 5))
    assert "shape (2, 3, 4, 5)" in str(caught.value)
    assert "torch.float32, on cpu" in str(caught.value)
    assert type(caught.value.__cause__) is KeyError

    with pytest.raises(PredictorCallError) as nested:
        Predictor(Predictor(fail))(torch.zeros(2, 3, 4, 5))
    assert type(nested.value.__cause__) is KeyError


def test_a_failure_of_preprocess_says_so() -> None:
    with pytest.raises(PredictorCallError, match=r"preprocess raised ZeroDivisionError.*\(2, 1\)") as caught:
        Predictor(lambda rows: rows, preprocess=lambda rows: 1 / 0)(torch.zeros(2, 1))
    assert type(caught.value.__cause__) is ZeroDivisionError


def test_a_model_that_stops_an_iteration_does_not_end_ours() -> None:
    with pytest.raises(PredictorCallError, match="predictor raised StopIteration: of the user's own"):
        Predictor(lambda rows: _stop())(torch.zeros(2, 1))


def _stop() -> None:
    raise StopIteration("of the user's own")


def test_an_error_that_cannot_be_said_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    def fail(rows: Tensor) -> Tensor:
        raise Mute

    with pytest.raises(PredictorCallError, match=r"The predictor raised Mute \(called with rows of shape \(2, 1\)"):
        Predictor(fail)(torch.zeros(2, 1))


@pytest.mark.parametrize("change", [lambda rows: rows[:1], lambda rows: rows.sum(), lambda rows: rows.T])
def test_preprocess_must_return_as_many_rows(change: Any) -> None:
    with pytest.raises(PredictorReturnTypeError, match="preprocess must return a tensor of the 2 rows, got shape"):
        Predictor(lambda rows: rows, preprocess=change)(torch.zeros(2, 1))


def test_preprocess_must_return_a_tensor(unchecked: None) -> None:
    with pytest.raises(PredictorReturnTypeError, match=r"preprocess must return a tensor.*got ndarray"):
        Predictor(lambda rows: rows, preprocess=lambda rows: rows.numpy())(torch.zeros(2, 1))


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 5 GB")],
)
def test_running_out_of_memory_is_passed_on(error: Exception) -> None:
    def fail(rows: Tensor) -> Tensor:
        raise error

    assert is_out_of_memory(error)
    with pytest.raises(type(error)) as caught:
        Predictor(fail)(torch.zeros(2, 1))
    assert caught.value is error


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("resnet18", {}, "predictor must be a torch.nn.Module or a callable, got str"),
        (nn.Linear(2, 2), {"dtype": np.float32}, "dtype must be a torch dtype for an nn.Module"),
        (nn.Linear(2, 2), {"device": "meta"}, r"device must be where the predictor's parameters are \(cpu\), got meta"),
        (nn.Linear(2, 2), {"device": "gpu"}, "device must be .*got 'gpu'"),
        (len, {"dtype": "integer"}, "dtype must be a torch dtype.*got 'integer'"),
        (len, {"dtype": np.object_}, "dtype must be a torch dtype.*got.*object"),
        (len, {"preprocess": "resize"}, "preprocess must be a callable or None, got str"),
    ],
)
def test_arguments_that_cannot_work(model: Any, settings: dict[str, Any], words: str, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=words):
        Predictor(model, **settings)


def test_a_callable_whose_dtype_nobody_gave_takes_tensors_or_arrays_as_it_is_told() -> None:
    seen: list[Any] = []

    def model(rows: Any) -> Any:
        seen.append(rows)
        return [0] * len(rows)

    rows = torch.arange(24.0).view(2, 3, 2, 2)
    predictor = Predictor(model, dtype=None, check_repeats=True)
    predictor(rows)
    assert torch.equal(seen[0], rows)
    arrays = predictor.taking(True)
    arrays(rows)
    given = next(rows for rows in seen if isinstance(rows, np.ndarray))
    assert given.dtype == np.float32
    assert np.array_equal(given, rows.permute(0, 2, 3, 1))
    assert arrays.row_dtype is torch.float32
    assert (predictor.takes_arrays, arrays.takes_arrays, arrays.taking(False).takes_arrays) == (False, True, False)
    assert arrays.outputs is predictor.outputs
    arrays._repeat_check.repeats = False
    assert not predictor.repeats  # what one of them learns, both know


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (nn.Flatten(), {"dtype": None}),
        (len, {"dtype": torch.float32}),
        (len, {"dtype": np.float64}),
        (len, {"dtype": None, "preprocess": torch.sqrt}),
    ],
)
def test_what_takes_tensors_or_arrays_anyway_is_told_nothing(model: Any, settings: dict[str, Any]) -> None:
    predictor = Predictor(model, **settings)
    assert predictor.taking(True) is predictor.taking(False) is predictor


@pytest.mark.parametrize(("arrays", "remedy"), [(True, "pass dtype=torch.float32"), (False, "pass dtype=np.float32")])
def test_a_function_that_wants_the_other_kind_hears_how_to_get_it(arrays: bool, remedy: str) -> None:
    def fails(rows: Any) -> Any:
        raise TypeError("not this")

    rows = torch.zeros(2, 3)
    with pytest.raises(PredictorCallError, match=remedy):
        Predictor(fails, dtype=None).taking(arrays)(rows)
    with pytest.raises(PredictorCallError) as plain:
        Predictor(fails)(rows)
    assert "dtype=" not in str(plain.value)


def exported(*, open_batch: bool) -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3)).eval()
    shapes = ({0: torch.export.Dim("batch")},) if open_batch else None
    return torch.export.export(network, (torch.rand(2, 4),), dynamic_shapes=shapes)


def test_an_exported_program_is_a_module_for_batches_of_any_size(tmp_path):
    program = exported(open_batch=True)
    torch.export.save(program, tmp_path / "net.pt2")
    rows = torch.rand(7, 4)
    for module in (program.module(), torch.export.load(tmp_path / "net.pt2").module()):
        labels = Predictor(module)(rows)
        assert labels.tolist() == module(rows).argmax(dim=1).tolist()
        assert Predictor(module)(rows[:3]).tolist() == labels[:3].tolist()


def test_a_program_for_one_batch_size_can_be_asked_in_parts():
    module, rows = exported(open_batch=False).module(), torch.rand(6, 4)
    with pytest.raises(PredictorCallError, match=r"called with rows of shape \(6, 4\)"):
        Predictor(module)(rows)
    parts = Predictor(lambda rows: torch.cat([module(part) for part in rows.split(2)]))
    assert parts(rows).tolist() == Predictor(exported(open_batch=True).module())(rows).tolist()


def test_a_program_is_no_module_and_says_what_is():
    with pytest.raises(PredictorCallError, match=r"exported_program\.module\(\)"):
        Predictor(exported(open_batch=True))(torch.rand(2, 4))


@pytest.mark.parametrize(("noise", "repeats"), [(0.0, True), (1e-6, True), (1.0, False)])
def test_a_regression_that_varies_is_noticed_by_what_is_close_to_the_border(noise: float, repeats: bool) -> None:
    """Each value is well within the tolerance of its own one before; but not all of that of another row."""
    rng = torch.Generator().manual_seed(0)

    def varying(rows: Tensor) -> Tensor:
        return rows[:, 0] + noise * torch.randn(len(rows), generator=rng)

    predictor = Predictor(varying, check_repeats=True).asking(Within(9.7))
    rows = torch.arange(64.0).remainder(20)[:, None] + 0.25
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictor(rows)
    assert predictor.repeats is repeats
