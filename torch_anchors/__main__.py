"""``python -m torch_anchors`` is ``torch-anchors``."""

import sys

from torch_anchors.cli import main

sys.exit(main())
