"""Settings for all tests."""

from __future__ import annotations

import torch

# Threads that wait for each other's cores make small models slower, and a busy machine much slower.
torch.set_num_threads(1)
