"""Numbers of fitting and of weights that commands name in their help."""

from __future__ import annotations

LEAST = 1e-3
"""What the least weight is, relative to the largest, where nobody says otherwise."""
STEP = 0.5
"""By how much LARICL's finite differences lower a weight: large against what private runs round."""
RIDGE = 0.01
"""How much LARICL holds weights back to 1."""
RATE, STEPS = 4.0, 10
"""Of RICL's gradient descent."""
