"""Shape annotations for tensors and arrays, such as ``Bool[Tensor, "rows superpixels"]``.

They are jaxtyping's. The tests install jaxtyping and check every annotated call with it; a user need not have it,
and then the annotations stand for the bare array type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped, UInt, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Int, Shaped, UInt, UInt8
    except ImportError:

        class _Unchecked:
            """``Kind[array_type, "shape"]`` is just ``array_type`` when nothing checks shapes."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Int = Shaped = UInt = UInt8 = _Unchecked

__all__ = ["Bool", "Float", "Int", "Shaped", "UInt", "UInt8"]
