"""A model folder of your own: trained on your text, then asked privately.

    python examples/your_own_model.py FOLDER_OF_TEXT FOLDER_OF_THE_MODEL

Any folder that `mpcinfer train` made, or that Hugging Face keeps a GPT-2 or Llama model in, takes its place.
"""

import sys

import mpcinfer
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.train import train

text, folder = sys.argv[1:]
shape = mpcinfer.ModelConfig(
    layers=1, width=64, heads=2, kv_heads=2, head_width=32, hidden=128, vocabulary=270, context=32
)
trained = train(shape, Recipe(steps=200, warmup=20, learning_rate=1e-2), text, folder)
print(f"perplexity {trained.perplexity:.1f}")

# The server loads the folder; the client reads its shape and tokenizer only.
with mpcinfer.private(folder) as client:
    print(client.complete("number ", max_new_tokens=8).text)
