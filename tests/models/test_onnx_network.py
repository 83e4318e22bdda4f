"""Models of ONNX files: every layout, type and batch size, and what sklearn exports."""

from __future__ import annotations

import pickle
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.data import coffee
from torch import Tensor

from torch_anchors import AnchorImage, AnchorTabular
from torch_anchors.engine.digest import digest_of
from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.models import load_image_model
from torch_anchors.models.onnx_network import OnnxNetwork

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

WEIGHT = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
CPU = torch.device("cpu")


def save(path: Path, nodes: list[Any], given: tuple[int, list[Any]], outputs: dict[str, Any], **weights: Any) -> Path:
    """A file of a graph from the input `rows`, of a type and shape."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("rows", *given)],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def pictures(
    path: Path,
    *,
    n_rows: Any = "batch",
    size: tuple[Any, Any] = (16, 20),
    kind: int = TensorProto.FLOAT,
    channels: int = 3,
    channels_last: bool = False,
) -> Path:
    """A network that scores four classes by the mean of each channel."""
    shape = [n_rows, *size, channels] if channels_last else [n_rows, channels, *size]
    nodes = [
        helper.make_node("Cast", ["rows"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2] if channels_last else [2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "weight"], ["scores"]),
    ]
    return save(
        path, nodes, (kind, shape), {"scores": (TensorProto.FLOAT, [n_rows, 4])}, weight=WEIGHT[:channels].copy()
    )


def scores_of(rows: Tensor) -> Tensor:
    return rows.float().mean((2, 3)) @ torch.from_numpy(WEIGHT).to(rows.device)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("n_rows", ["batch", None, 1, 4])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_rows_of_pytorch_go_in_and_scores_come_out(tmp_path: Path, channels_last: bool, n_rows: Any, kind: int) -> None:
    network = OnnxNetwork(pictures(tmp_path / "n.onnx", n_rows=n_rows, kind=kind, channels_last=channels_last), CPU)
    assert network.picture_shape == (3, 16, 20)
    for n in (1, 3, 4, 9):
        rows = torch.rand(n, 3, 16, 20)
        tolerance = 2e-3 if kind == TensorProto.FLOAT16 else 1e-5
        torch.testing.assert_close(network(rows), scores_of(rows), rtol=0, atol=tolerance)


def test_a_file_is_loaded_by_its_name_with_the_size_it_fixes(tmp_path: Path) -> None:
    model = load_image_model(pictures(tmp_path / "net.onnx"))
    assert (model.input_size, model.class_names, model.name) == ((16, 20), None, str(tmp_path / "net.onnx"))
    free = load_image_model(pictures(tmp_path / "free.onnx", size=("h", "w")))
    assert free.input_size == (224, 224)
    pixels = torch.randint(0, 256, (2, 3, 16, 20), dtype=torch.uint8)
    torch.testing.assert_close(model.module(model.preprocess(pixels)), scores_of(model.preprocess(pixels)))


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64])
def test_whole_numbers_are_pixels_as_they_are(tmp_path: Path, kind: int) -> None:
    model = load_image_model(pictures(tmp_path / "net.onnx", kind=kind, channels_last=True))
    pixels = torch.randint(0, 256, (5, 3, 16, 20), dtype=torch.uint8)
    torch.testing.assert_close(model.module(model.preprocess(pixels)), scores_of(pixels))


def test_it_is_explained_like_any_network(tmp_path: Path, device: torch.device) -> None:
    with pytest.warns(AnchorsWarning) if device.type != "cpu" else nullcontext():
        model = load_image_model(pictures(tmp_path / "net.onnx", n_rows=8), device=device)
    settings = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 2, "cols": 2}, "fill": "constant", "seed": 0}
    found = AnchorImage(model.module, preprocess=model.preprocess, **settings).explain(model.fit(coffee()))

    def same(rows: Tensor) -> Tensor:
        return scores_of(model.preprocess(rows))

    expected = AnchorImage(same, dtype=torch.float32, device=device, **settings).explain(model.fit(coffee()))
    assert (found.features, found.label, found.precision) == (expected.features, expected.label, expected.precision)


@pytest.mark.parametrize("names", [["features", "scores"], ["scores", "features"]])
def test_the_scores_are_found_among_several_outputs(tmp_path: Path, names: list[str]) -> None:
    kinds = {"features": (TensorProto.FLOAT, ["n", 3, 1, 1]), "scores": (TensorProto.FLOAT, ["n", 3])}
    nodes = [
        helper.make_node("GlobalAveragePool", ["rows"], ["features"]),
        helper.make_node("Flatten", ["features"], ["scores"]),
    ]
    given = (TensorProto.FLOAT, ["n", 3, 8, 8])
    path = save(tmp_path / "n.onnx", nodes, given, {name: kinds[name] for name in names})
    rows = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(OnnxNetwork(path, CPU)(rows), rows.mean((2, 3)))


def test_labels_alone_are_labels(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ArgMax", ["rows"], ["label"], axis=1, keepdims=0),
    ]
    given = (TensorProto.FLOAT, ["n", 5])
    path = save(tmp_path / "n.onnx", nodes, given, {"label": (TensorProto.INT64, ["n"])})
    rows = torch.rand(6, 5)
    assert torch.equal(OnnxNetwork(path, CPU)(rows), rows.argmax(1))


def test_grey_networks_are_refused_as_classifiers_of_photographs(tmp_path: Path) -> None:
    path = pictures(tmp_path / "grey.onnx", channels=1)
    with pytest.raises(ArgumentError, match=r"must take pictures of three channels, .* got 1"):
        load_image_model(path)
    rows = torch.rand(2, 1, 16, 20)  # but not as networks
    torch.testing.assert_close(OnnxNetwork(path, CPU)(rows), rows.mean((2, 3)) * torch.from_numpy(WEIGHT[:1]))


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("a", "b")]
    out = helper.make_tensor_value_info("c", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "two", values, [out])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "two.onnx"
    )
    with pytest.raises(ArgumentError, match=r"must have one input of rows, .* got a tensor\(float\) .*, b tensor"):
        load_image_model(tmp_path / "two.onnx")


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x09" * 40])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ArgumentError, match=r"bad\.onnx cannot be loaded as an ONNX file: ") as refused:
        load_image_model(tmp_path / "bad.onnx")
    assert "\n" not in str(refused.value)


def test_onnxruntime_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pictures(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'package onnxruntime.*pip install "torch-anchors\[onnx\]"'):
        load_image_model(path)


def test_a_device_it_cannot_compute_on_is_told(tmp_path: Path) -> None:
    with pytest.warns(AnchorsWarning, match=r"cannot compute on meta; net\.onnx runs on the CPU"):
        OnnxNetwork(pictures(tmp_path / "net.onnx"), torch.device("meta"))


def test_it_travels_to_other_processes(tmp_path: Path) -> None:
    network = OnnxNetwork(pictures(tmp_path / "net.onnx"), CPU)
    again = pickle.loads(pickle.dumps(network))
    rows = torch.rand(2, 3, 16, 20)
    assert torch.equal(again(rows), network(rows))


def test_files_with_other_weights_have_other_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digest_of(OnnxNetwork(pictures(tmp_path / "net.onnx"), CPU))
    assert digest_of(OnnxNetwork(tmp_path / "net.onnx", CPU)) == first
    monkeypatch.setattr(sys.modules[__name__], "WEIGHT", WEIGHT + 1)
    assert digest_of(OnnxNetwork(pictures(tmp_path / "net.onnx"), CPU)) != first


def test_weights_in_a_file_of_their_own_are_part_of_the_digest(tmp_path: Path) -> None:
    path = pictures(tmp_path / "net.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="net.weights", size_threshold=0)
    first = digest_of(OnnxNetwork(path, CPU))
    (tmp_path / "notes.txt").write_text("of no concern")
    assert digest_of(OnnxNetwork(path, CPU)) == first
    weights = bytearray((tmp_path / "net.weights").read_bytes())
    weights[3] ^= 1
    (tmp_path / "net.weights").write_bytes(weights)
    assert digest_of(OnnxNetwork(path, CPU)) != first


class TestSklearn:
    """What skl2onnx makes of scikit-learn's models: a label, and a mapping of probabilities or a matrix of them."""

    @pytest.fixture(scope="class")
    def fitted(self) -> tuple[Any, np.ndarray]:
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression

        rows, labels = load_iris(return_X_y=True)
        names = np.array(["virginica", "setosa", "other"])
        return LogisticRegression(max_iter=500).fit(rows, names[labels]), rows.astype(np.float32)

    def save(self, path: Path, fitted: Any, **options: Any) -> Path:
        skl2onnx = pytest.importorskip("skl2onnx")
        floats = skl2onnx.common.data_types.FloatTensorType([None, 4])
        made = skl2onnx.convert_sklearn(fitted, initial_types=[("X", floats)], options={id(fitted): options})
        path.write_bytes(made.SerializeToString())
        return path

    @pytest.mark.parametrize("zipmap", [True, False])
    def test_probabilities_are_taken(self, tmp_path: Path, fitted: tuple[Any, np.ndarray], zipmap: bool) -> None:
        model, rows = fitted
        network = OnnxNetwork(self.save(tmp_path / "iris.onnx", model, zipmap=zipmap), CPU)
        assert network.class_names == (("other", "setosa", "virginica") if zipmap else None)
        scores = network(torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(scores, model.predict_proba(rows), atol=1e-5)

    def test_it_is_explained(self, tmp_path: Path, fitted: tuple[Any, np.ndarray]) -> None:
        model, rows = fitted
        network = OnnxNetwork(self.save(tmp_path / "iris.onnx", model), CPU)
        explainer = AnchorTabular(network, ["a", "b", "c", "d"], seed=0).fit(rows)
        explanation = explainer.explain(rows[0])
        assert explanation.label == list(model.classes_).index(model.predict(rows[:1])[0])
        assert explanation.success
