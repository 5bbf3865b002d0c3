"""How byte-level BPE tokenizers cut a text into words before they merge bytes, by name.

Sources: `tokenizers` and `transformers` for the patterns of model families, llama.cpp's `llama-vocab.cpp` for
the names that GGUF files use.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Regex, pre_tokenizers

from parties.errors import ConfigError

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_MARKED_WORD = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+"
_LOWER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
_UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
_DIGIT, _DIGITS = r"\p{N}", r"\p{N}{1,3}"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_UNMARKED_SIGNS = r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
_SIGNS_SLASHES = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
# Each name's patterns cut a text one after the other, each what those before it left.
_PATTERNS: dict[str, tuple[str, ...]] = {
    "llama-3": ("|".join((_CONTRACTIONS, _WORD, _DIGITS, _SIGNS, _SPACES)),),
    "qwen2": ("|".join((_CONTRACTIONS, _WORD, _DIGIT, _SIGNS, _SPACES)),),
    "qwen3.5": ("|".join((_CONTRACTIONS, _MARKED_WORD, _DIGIT, _UNMARKED_SIGNS, _SPACES)),),
    "tekken": ("|".join((_LOWER, _UPPER, _DIGIT, _SIGNS_SLASHES, _SPACES)),),
    "gpt-4o": (
        "|".join(
            (f"{_LOWER}{_CONTRACTIONS}?", f"{_UPPER}{_CONTRACTIONS}?", _DIGITS, _SIGNS_SLASHES, _SPACES)
        ),
    ),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    "falcon": (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]"),
}


@dataclass(frozen=True, slots=True)
class GgufPre:
    """What `tokenizer.ggml.pre` says.

    Attributes:
        cut: one of the names that `words` takes.
        ignore_merges: a word that is a token is not merged anew.
        adds_bos: what holds where a file does not say.
    """

    cut: str
    ignore_merges: bool = False
    adds_bos: bool = False


_LLAMA3 = GgufPre("llama-3", ignore_merges=True, adds_bos=True)
_GGUF: dict[str, GgufPre] = {
    "default": GgufPre("default"),
    "falcon": GgufPre("falcon"),
    "tekken": GgufPre("tekken", ignore_merges=True, adds_bos=True),
    "qwen35": GgufPre("qwen3.5"),
    **dict.fromkeys(
        ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0"), _LLAMA3
    ),
    **dict.fromkeys(("lfm2", "jina-v5-nano"), _LLAMA3),
    **dict.fromkeys(("dbrx", "smaug-bpe"), GgufPre("llama-3")),
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "trillion"), GgufPre("gpt-2")),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"), GgufPre("smollm")),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan"), GgufPre("qwen2")),
    **dict.fromkeys(("gpt-4o", "llama4"), GgufPre("gpt-4o")),
}


def words(name: str, *, prefix_space: bool = False) -> pre_tokenizers.PreTokenizer:
    """A pre-tokeniser by name; it ends with bytes in GPT-2's printable alphabet.

    Args:
        name: `gpt-2`; `smollm`, which first sets every digit apart; `llama-3`, `qwen2`, `qwen3.5`, `tekken`,
            `gpt-4o`, `falcon`, or llama.cpp's `default`.
        prefix_space: begin with a space where the text does not.

    Raises:
        ConfigError: another name.
    """
    if name == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    if name == "smollm":
        first = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([first, pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)])
    if name not in _PATTERNS:
        known = sorted({"gpt-2", "smollm", *_PATTERNS})
        raise ConfigError(f"pre-tokeniser {name!r} is not supported; expected one of {known}")
    cuts = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in _PATTERNS[name]]
    letters = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=False)
    return pre_tokenizers.Sequence([*cuts, letters])


def gguf_pre(name: str) -> GgufPre:
    """What a GGUF file's name for its pre-tokeniser means.

    Raises:
        ConfigError: a name that is not known.
    """
    if name not in _GGUF:
        raise ConfigError(
            f"tokenizer.ggml.pre is {name!r}, which is not supported; known are {sorted(_GGUF)}"
        )
    return _GGUF[name]
