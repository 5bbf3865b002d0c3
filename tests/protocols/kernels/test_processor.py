"""Which kernels run follows what the target has."""

from __future__ import annotations

import pytest

from parties.errors import ConfigError
from protocols.kernels import processor
from protocols.kernels.processor import VARIABLE, aes_registers, kernel_set, uses_compiled, vector_words

SSE = {"sse2", "sse4.1"}
TARGETS = [
    ({*SSE, "aes", "avx2", "vaes", "avx512f"}, "avx512", 8),
    ({*SSE, "aes", "avx2", "vaes"}, "avx2", 4),
    ({*SSE, "aes", "avx2", "avx512f"}, "aes-ni", 8),
    ({*SSE, "aes"}, "aes-ni", 2),
    ({"neon", "aes", "sha2"}, "neon", 2),
    ({"neon"}, "openssl", 2),
    ({*SSE, "avx2"}, "openssl", 4),
    (set[str](), "openssl", 2),
]


@pytest.mark.parametrize(("features", "name", "words"), TARGETS)
def test_the_widest_registers_that_the_target_has(
    features: set[str], name: str, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(processor, "target_features", lambda: frozenset(features))
    assert kernel_set() == name
    assert vector_words() == words
    assert uses_compiled() == (name != "openssl")


@pytest.mark.parametrize("cpu", ["apple-m1", "apple-m4"])
def test_apple_processors_have_aes_where_nothing_is_listed(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor.config, "CPU_NAME", cpu)
    monkeypatch.setattr(processor.config, "CPU_FEATURES", "")
    processor.target_features.cache_clear()
    try:
        registers = aes_registers()
    finally:
        processor.target_features.cache_clear()
    assert registers is not None
    assert registers.name == "neon"


def test_only_openssl_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "openssl")
    assert kernel_set() == "openssl"
    monkeypatch.setenv(VARIABLE, "fastest")
    with pytest.raises(ConfigError, match="'fastest'; expected nothing, or 'openssl'"):
        uses_compiled()
