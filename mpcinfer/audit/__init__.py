"""What values that a run opens, or that weaker protocols would reveal, say of prompts and of weights."""
