"""Pictures without transparent parts. Nothing here needs PyTorch, which takes seconds to import."""

from __future__ import annotations

from PIL import Image


def opaque(image: Image.Image) -> Image.Image:
    """The PIL image in grey ("L") or colour ("RGB"), its transparent parts white; itself if it is so already."""
    if image.mode in ("RGB", "L"):
        return image
    colour = image.convert("RGBA")
    white = Image.new("RGBA", colour.size, "white")
    return Image.alpha_composite(white, colour).convert("RGB")
