"""Pictures of every size in little memory, names that do not collide, and damaged files."""

from __future__ import annotations

import resource
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from torch_anchors.errors import ArgumentError
from torch_anchors.images import files as pictures
from torch_anchors.images.files import DeepPictureError, check_picture, distinct_names, read_picture
from torch_anchors.models import LoadedModel, Preprocess


def peak() -> int:
    """Most megabytes that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def noise(height: int, width: int) -> Image.Image:
    """A smooth picture of which each part is another."""
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


class TestSizes:
    @pytest.mark.parametrize("suffix", ["jpg", "png"])
    def test_a_large_picture_is_read_at_a_fraction_of_its_size(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"photo.{suffix}"
        noise(600, 800).save(path)
        whole, fraction = read_picture(path), read_picture(path, enough=150)
        assert whole.shape == (600, 800, 3)
        assert fraction.shape == (150, 200, 3)
        expected = Image.fromarray(whole).resize((200, 150), Image.Resampling.BOX)
        assert np.abs(fraction.astype(float) - np.asarray(expected)).mean() < 2

    @pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "LA"])
    def test_whatever_its_mode(self, tmp_path: Path, mode: str) -> None:
        path = tmp_path / "photo.png"
        Image.new("RGB", (90, 60), (255, 255, 255)).convert(mode).save(path)
        fraction = read_picture(path, enough=20)
        assert fraction.shape == (20, 30, 3)
        assert (fraction == 255).all()

    def test_no_smaller_than_is_enough(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.jpg"
        noise(299, 400).save(path)
        assert read_picture(path, enough=150).shape == (299, 400, 3)

    @pytest.mark.parametrize("suffix", ["jpg", "tif"])
    def test_upright_at_a_fraction_too(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"turned.{suffix}"
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned by a quarter
        Image.new("RGB", (80, 40)).save(path, exif=exif)
        assert read_picture(path, enough=10).shape == (20, 10, 3)

    def test_12_megapixels(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.jpg"
        noise(3000, 4000).save(path)
        before = peak()
        assert read_picture(path, enough=4 * 224).shape == (1500, 2000, 3)
        assert peak() - before < 100  # it would be 36 as bytes, and 144 as the floats that are resized

    def test_13000_x_13000_is_refused_with_a_remedy(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.png"
        Image.new("1", (13_000, 13_000)).save(path, compress_level=1)
        complaint = r"huge\.png has 13,000 x 13,000 pixels, .*; scale it down to at most 90 million pixels first"
        for look in (check_picture, read_picture):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with pytest.raises(ArgumentError, match=complaint):
                    look(path)

    def test_a_bomb_is_refused_with_the_same_remedy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "bomb.png"
        Image.new("L", (300, 300)).save(path)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)  # Pillow refuses twice as many
        with pytest.raises(ArgumentError, match=r"bomb\.png has more than are decoded here; scale it down"):
            check_picture(path)

    def test_a_huge_jpeg_is_decoded_small(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "huge.jpg"
        noise(800, 800).save(path)
        monkeypatch.setattr(pictures, "MOST_PIXELS", 200_000)
        check_picture(path)
        assert read_picture(path, enough=100).shape == (100, 100, 3)
        with pytest.raises(ArgumentError, match="800 x 800 pixels"):
            read_picture(path)

    @pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (3, 20_000)])
    def test_a_very_long_picture(self, tmp_path: Path, size: tuple[int, int]) -> None:
        path = tmp_path / "line.png"
        Image.new("RGB", size, (10, 200, 30)).save(path)
        model = LoadedModel("any", nn.Identity(), Preprocess((224, 224)))
        before = peak()
        fitted = model.fit(read_picture(path, enough=4 * 224))
        assert fitted.shape == (224, 224, 3)
        assert np.abs(fitted.astype(int) - (10, 200, 30)).max() <= 1
        assert peak() - before < 300  # resized as it is, it would be 12 gigabytes

    def test_the_middle_of_a_long_picture_is_kept(self) -> None:
        rows = np.zeros((4000, 10, 3), dtype=np.uint8)
        rows[1995:2005] = 255
        model = LoadedModel("any", nn.Identity(), Preprocess((10, 10)))
        assert (model.fit(rows) == 255).all()


class TestDepth:
    """Pictures with more than 8 bits a channel, which Pillow would clip."""

    @pytest.mark.parametrize(("dtype", "line"), [(np.uint16, "np.asarray(image) / 257"), (np.float32, "scale_image")])
    def test_is_refused_where_nobody_says_what_is_white(self, tmp_path: Path, dtype: type, line: str) -> None:
        path = tmp_path / "deep.tif"
        Image.fromarray(np.zeros((4, 4), dtype=dtype)).save(path)
        for look in (check_picture, read_picture):
            with pytest.raises(DeepPictureError, match="more than 8 bits a channel") as raised:
                look(path)
            assert line in str(raised.value)

    def test_values_from_black_to_white(self, tmp_path: Path) -> None:
        path = tmp_path / "deep.png"
        Image.fromarray(np.array([[0, 1000, 2000], [3000, 65535, 1500]], dtype=np.uint16)).save(path)
        check_picture(path, value_range=(1000, 3000))
        found = read_picture(path, value_range=(1000, 3000))
        np.testing.assert_array_equal(found[..., 0], [[0, 0, 128], [255, 255, 64]])
        assert (found == found[..., :1]).all()

    def test_ordinary_pictures_are_read_as_they_are(self, tmp_path: Path) -> None:
        path = tmp_path / "flat.png"
        noise(20, 20).save(path)
        np.testing.assert_array_equal(read_picture(path, value_range=(0, 1)), read_picture(path))


class TestDamaged:
    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "tif"])
    def test_torn_anywhere(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"picture.{suffix}"
        noise(32, 32).save(path)
        content = path.read_bytes()
        for n in range(0, len(content) - 1, max(1, len(content) // 40)):
            path.write_bytes(content[:n])
            with suppress(ArgumentError):  # nothing else; and the end of some formats may be missing
                read_picture(path)

    def test_any_byte_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "picture.png"
        noise(16, 16).save(path)
        content = path.read_bytes()
        rng = np.random.default_rng(0)
        for _ in range(60):
            damaged = bytearray(content)
            damaged[rng.integers(len(damaged))] = rng.integers(256)
            path.write_bytes(damaged)
            with suppress(ArgumentError):
                read_picture(path)


class TestContent:
    def test_the_content_of_a_file_is_the_same_picture(self, tmp_path: Path) -> None:
        path = tmp_path / "picture.jpg"
        noise(60, 40).save(path)
        for enough in (None, 10):
            found = read_picture(Path("nowhere.jpg"), enough=enough, content=path.read_bytes())
            np.testing.assert_array_equal(found, read_picture(path, enough=enough))

    def test_errors_call_it_by_the_name_that_is_given(self) -> None:
        with pytest.raises(ArgumentError, match=r"^cat\.png is not a picture"):
            read_picture(Path("cat.png"), content=b"no picture")


class TestNames:
    @pytest.mark.parametrize(
        ("paths", "names"),
        [
            ("a/cat.jpg b/cat.jpg c/cat.png", "cat cat-2 cat-3"),
            ("Cat.jpg cat.jpg CAT.png", "Cat cat-2 CAT-3"),
            ("cat.jpg a/cat.jpg cat-2.jpg", "cat cat-3 cat-2"),
            ("cat-2.jpg cat.jpg a/cat.jpg b/cat-2.png", "cat-2 cat cat-3 cat-2-2"),
            ("caf\u00e9.jpg cafe\u0301.jpg", "caf\u00e9 cafe\u0301-2"),
        ],
    )
    def test_none_comes_twice(self, paths: str, names: str) -> None:
        found = distinct_names([Path(path) for path in paths.split()])
        assert found == names.split()
        assert len({name.casefold() for name in found}) == len(found)

    def test_many(self) -> None:
        found = distinct_names([Path(f"{i}/cat.jpg") for i in range(3000)])
        assert len(set(found)) == 3000
        assert found[-1] == "cat-3000"
