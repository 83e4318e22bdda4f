"""Pictures made opaque, and 8 bits a channel. Nothing here needs PyTorch, which takes seconds to import."""

from __future__ import annotations

from PIL import Image


def opaque(image: Image.Image) -> Image.Image:
    """The PIL image in grey ("L") or colour ("RGB"), its transparent parts white; itself if it is so already."""
    if image.mode in ("RGB", "L"):
        return image
    colour = image.convert("RGBA")
    white = Image.new("RGBA", colour.size, "white")
    return Image.alpha_composite(white, colour).convert("RGB")


def scaling_line(mode: str) -> str:
    """The line that scales a PIL image of more than 8 bits a channel, which ``convert()`` would clip."""
    scaled = "np.asarray(image) / 257" if mode.startswith("I;16") else "torch_anchors.scale_image(np.asarray(image))"
    return f'Image.fromarray(({scaled}).round().astype("uint8"))'
