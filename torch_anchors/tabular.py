"""AnchorTabular: which conditions on the columns of a table's row keep the model's answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from torch_anchors import batching
from torch_anchors._shapes import Float, Int
from torch_anchors.engine.batch_size import BatchSize
from torch_anchors.engine.conjunctions import best_rules
from torch_anchors.engine.job import Job
from torch_anchors.engine.labelled_table import LabelledTable, labels_of
from torch_anchors.engine.predictor import INVALID, Predictor
from torch_anchors.engine.proposals import Proposer
from torch_anchors.engine.runner import Runner
from torch_anchors.errors import ArgumentError, NotFittedError, PredictorReturnTypeError
from torch_anchors.perturb.tabular import SAMPLINGS, TabularPerturbations
from torch_anchors.perturb.tabular_sampler import TabularSampler
from torch_anchors.perturb.training import TrainingRows
from torch_anchors.rule import Rule
from torch_anchors.search.beam import beam_search
from torch_anchors.search.narrate import narrated
from torch_anchors.search.protocol import Anchor, Search, SearchResult, SearchSpace, Status, Step
from torch_anchors.search.ranked import ranked_search
from torch_anchors.settings import ExplainSettings
from torch_anchors.table import TableSchema
from torch_anchors.tabular_explanation import EncodedExamples, TabularExplanation
