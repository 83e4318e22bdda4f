"""Anchor explanations of PyTorch models, certified, and batched on the model's device.

An anchor is a rule (superpixels that stay visible, or conditions on a table's row) such that the model almost always
gives the same answer while it holds. See `AnchorImage` and `AnchorTabular`.

The public names are listed in ``__init__.pyi``. Each is imported when it is first used, so that the command line
answers at once where PyTorch is not needed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
