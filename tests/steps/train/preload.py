"""What the fork server of crash.py imports once for all."""

import peft  # noqa: F401
import torch  # noqa: F401
from transformers.models.bert import modeling_bert  # noqa: F401

import steps.train.train  # noqa: F401
