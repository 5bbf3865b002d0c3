"""Registers of every width give the same keys and sums."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parties.errors import ConfigError
from parties.randomness import InsecureTestRandom
from protocols.kernels.aes import Hash
from protocols.kernels.dpf import generate, prefix_parity, window_lookup
from protocols.kernels.processor import VARIABLE, register_words, uses_compiled
from protocols.kernels.window_table import WindowTable

ROOT = Path(__file__).parents[3]
AES = "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+aes"
FEATURES = {2: AES, 4: f"{AES},+avx,+avx2,+vaes", 0: "+sse2"}


def digest() -> str:
    """Keys, parities and sums of a few fixed points."""
    bits, count = 12, 100
    random = InsecureTestRandom(1)
    alpha, x = random.uint64((2, count)) >> np.uint64(64 - bits)
    roots, table = random.uint64((2, count, 2)), np.arange(-100, 200)
    hash = Hash(bytes(range(16)))
    keys, signs = generate(alpha, bits, roots, hash)
    parity = prefix_parity(1, keys, roots[1], x[None], hash)
    sums = [window_lookup(0, keys, roots[0], x, WindowTable(t), hash) for t in (table, table << 40)]
    whole = b"".join(array.tobytes() for array in (keys.words, signs, parity, *sums))
    return hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize("words", FEATURES)
@pytest.mark.skipif(register_words() == 0, reason="no AES instructions to compile for")
def test_every_width_of_registers_is_equal(words: int) -> None:
    """A second process compiles for an older processor."""
    if words > register_words():
        pytest.skip("this processor has no such registers")
    environment = {**os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": FEATURES[words]}
    program = "import tests.protocols.kernels.test_processor as t; print(t.register_words(), t.digest())"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert run.stdout.split() == [str(words), digest()]


def test_openssl_is_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    best = digest()
    monkeypatch.setenv(VARIABLE, "openssl")
    assert not uses_compiled()
    assert digest() == best


def test_only_openssl_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "fastest")
    with pytest.raises(ConfigError, match="'fastest'; expected nothing, or 'openssl'"):
        uses_compiled()
