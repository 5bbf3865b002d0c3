"""Writes docs/config-keys.md: what becomes of every key of a `config.json`, by family.

python scripts/config_keys.py
"""

from __future__ import annotations

from pathlib import Path

from mpcinfer.models.families.common_keys import HONOURED, MEANINGLESS
from mpcinfer.models.families.family import Family
from mpcinfer.models.families.registry import FAMILIES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "config-keys.md"
_HEAD = """# Keys of a `config.json`

What becomes of each key, by `model_type`. `scripts/config_keys.py` writes this page from what the loader
reads, and a test holds it, and every field of the classes in `transformers` 5.24, to the loader.

* *Honoured*: what `transformers` does with it. An absent key is what `transformers` takes for it, shown in
  parentheses; the sizes without one must be stated. Null is not absent.
* *Refused*: with any value but those shown, by a line that names the key.
* *Meaningless*: it does not change logits.
* A key in no list is refused by its name, unless its value is null, false, 0 or empty, or says
  `full_attention` of every layer. `quantization_config` and `compression_config` are refused, and so are
  `adapter_config.json`, `adapter_model.safetensors` and `adapter_model.bin` beside the weights.

RoPE comes from `rope_scaling` where it is not empty, else from `rope_parameters`; `rope_theta` from there,
else from the top. Types `default`, `linear`, `llama3` and `yarn` are honoured, and `dynamic`, which scales
nothing up to the model's own context. Others are refused.

Of `longrope` `short_factor` and `attention_factor` are honoured, for texts of up to
`original_max_position_embeddings` tokens, which is then the model's context here. Where a text grows beyond,
`transformers` turns all its positions by `long_factor`, those in its cache anew; here it is refused.
"""


def page() -> str:
    """The page."""
    parts = [_HEAD, *map(_section, FAMILIES.values())]
    common = ", ".join(f"`{key}`" for key in sorted(MEANINGLESS))
    labels = ", ".join(f"`{key}`" for key in sorted(HONOURED))
    parts += [
        "## Honoured for all\n",
        f"{labels}: of classifiers, whose architecture is `...ForSequenceClassification`.\n",
    ]
    return "\n".join(
        [*parts, "## Meaningless for all\n", f"{common}, where a family's own lists do not name it.", ""]
    )


def _section(family: Family) -> str:
    honoured = [f"`{key}`" for key in sorted(family.sizes)]
    honoured += [f"`{key}` ({_value(value)})" for key, value in sorted(family.defaults.items())]
    lines = [f"## `{family.model_type}`\n", f"Honoured: {', '.join(honoured)}.\n"]
    if family.only:
        only = ", ".join(
            f"`{key}` but {' or '.join(map(_value, values)) or 'null'}"
            for key, values in sorted(family.only.items())
        )
        lines.append(f"Refused: {only}.\n")
    if family.meaningless:
        lines.append(f"Meaningless: {', '.join(f'`{key}`' for key in sorted(family.meaningless))}.\n")
    return "\n".join(lines)


def _value(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
