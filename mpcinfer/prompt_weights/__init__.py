"""How much the examples of a few-shot prompt count: decided at the client, given or fitted to labels."""
