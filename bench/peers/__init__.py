"""Other systems on the same work: each in an environment of its own, as two processes on the same link."""
