"""How this process waits for work; imported before torch is.

Several parties often share a machine. Idle threads of a parallel loop spin by default: a server with two
threads and a busy neighbour takes five times the processor time. They sleep here, unless the environment says
otherwise.
"""

from __future__ import annotations

import os

WAIT_POLICY = os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
