"""Pictures of explanations, as matplotlib figures that belong to nobody's global state.

matplotlib is imported when a picture is drawn. In a notebook, ``%matplotlib inline`` makes figures show.
"""

from torch_anchors.plots.image import plot_image
from torch_anchors.plots.rules import plot_rules
from torch_anchors.plots.style import LabelNames, explanation_label, label_name

__all__ = ["LabelNames", "explanation_label", "label_name", "plot_image", "plot_rules"]
