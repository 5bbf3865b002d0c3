"""SPU 0.9.5 as two processes over brpc, under `semi2k` or `cheetah`, 64-bit ring, 18 fraction bits.

Settings are those that cost it least at the same accuracy: one reciprocal a row of a softmax, PUMA's
polynomials for GELU (Dong et al., arXiv 2307.12533, as in SPU's examples), rsqrt a row; weights are cached
under semi2k, and stay with the server under cheetah, where multiplications may err in the last bit.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import spu.libspu as lib
from numpy.typing import NDArray
from spu import Io, Runtime
from spu.experimental import make_cached_var
from spu.utils import frontend

from bench.peers.inside.party import CLIENT, HOST, SERVER, Party

HEADS = 12
EPS = 1e-5
MASKED = -100.0
TIMEOUT_MS = 600_000
_LOWER = (-0.5054031199708174, -0.42226581151983866, -0.11807612951181953, -0.011034134030615728)
_MIDDLE = (0.008526321541038084, 0.5, 0.3603292692789629, -0.037688200365904236, 0.0018067462606141187)


def gelu(x: Any) -> Any:
    """Polynomials below -1.95 and up to 3, 0 below -4, x above 3."""
    below, low, high = x < -4.0, x < -1.95, x > 3.0
    middle, lower = low ^ high ^ True, below ^ low
    square = jnp.square(x)
    cube = square * x
    fourth, sixth = jnp.square(square), jnp.square(cube)
    first = _LOWER[3] * cube + _LOWER[2] * square + _LOWER[1] * x + _LOWER[0]
    second = _MIDDLE[4] * sixth + _MIDDLE[3] * fourth + _MIDDLE[2] * square + _MIDDLE[1] * x + _MIDDLE[0]
    return high * x + lower * first + middle * second


def softmax(x: Any) -> Any:
    return jax.nn.softmax(x + jnp.triu(jnp.full(x.shape[-2:], MASKED), 1), axis=-1)


def layernorm(x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + EPS)


def attention(x: Any, w: Mapping[str, Any]) -> Any:
    qkv = x @ w["attn.qkv.weight"]
    if "attn.qkv.bias" in w:
        qkv = qkv + w["attn.qkv.bias"]
    q, k, v = (part.reshape(x.shape[0], HEADS, -1).transpose(1, 0, 2) for part in jnp.split(qkv, 3, -1))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(0, 2, 1)
    mixed = (softmax(scores) @ v).transpose(1, 0, 2)
    return mixed.reshape(x.shape[0], -1) @ w["attn.out.weight"]


def block(x: Any, w: Mapping[str, Any]) -> Any:
    normed = layernorm(x) * w["norm1.weight"] + w["norm1.bias"]
    x = x + attention(normed, w) + w["attn.out.bias"]
    normed = layernorm(x) * w["norm2.weight"] + w["norm2.bias"]
    hidden = gelu(normed @ w["ffn.in.weight"] + w["ffn.in.bias"])
    return x + hidden @ w["ffn.out.weight"] + w["ffn.out.bias"]


def softmax_block(x: Any, w: Mapping[str, Any]) -> Any:
    x = x + attention(x, w)
    return x + x @ w["ffn.out.weight"]


PROGRAMS: dict[str, Any] = {
    "matmul": lambda x, w: x @ w["weight"],
    "relu": lambda x, w: jax.nn.relu(x),
    "gelu": lambda x, w: gelu(x),
    "softmax": lambda x, w: softmax(x),
    "layernorm": lambda x, w: layernorm(x),
    "block": block,
    "softmax-block": softmax_block,
}


class Spu:
    """A party's runtime and its shares."""

    def __init__(self, party: Party, folder: Path) -> None:
        self._party, self._folder = party, folder
        self.cheetah = party.job["protocol"] == "cheetah"
        config = lib.RuntimeConfig(
            lib.ProtocolKind.CHEETAH if self.cheetah else lib.ProtocolKind.SEMI2K, lib.FieldType.FM64
        )
        config.enable_pphlo_profile = True
        config.experimental_enable_colocated_optimization = self.cheetah
        if self.cheetah:
            config.cheetah_2pc_config.enable_mul_lsb_error = True
        self._io = Io(2, config)
        self.runtime = Runtime(lib.link.create_brpc(self._desc(), party.rank), config)

    def _desc(self) -> Any:
        desc, job = lib.link.Desc(), self._party.job
        for rank in (SERVER, CLIENT):
            port = job["listen" if rank == self._party.rank else "reach"][rank]
            desc.add_party(f"party{rank}", f"{HOST}:{port}")
        desc.recv_timeout_ms = desc.http_timeout_ms = TIMEOUT_MS
        return desc

    def share(self, name: str, value: NDArray[np.float32] | None, owner: int) -> None:
        """The owner makes both shares and hands the other's over, outside of what is counted."""
        path = self._folder / f"share-{name}.npz"
        if value is not None:
            colocated = owner if self.cheetah and owner == SERVER else -1
            shares = self._io.make_shares(value, lib.Visibility.VIS_SECRET, colocated)
            _save(path, shares[1 - self._party.rank])
            self.runtime.set_var(name, shares[self._party.rank])
        self._party.barrier()
        if value is None:
            self.runtime.set_var(name, _load(path))

    def opened(self, name: str) -> NDArray[Any] | None:
        """The result at the client."""
        path, share = self._folder / f"share-{name}.npz", self.runtime.get_var(name)
        if self._party.rank == SERVER:
            _save(path, share)
        self._party.barrier()
        return self._io.reconstruct([_load(path), share]) if self._party.rank == CLIENT else None


def _save(path: Path, share: Any) -> None:
    chunks = {f"chunk{i}": np.frombuffer(chunk, np.uint8) for i, chunk in enumerate(share.share_chunks)}
    np.savez(path, meta=np.frombuffer(share.meta, np.uint8), **chunks)


def _load(path: Path) -> Any:
    share = lib.Share()
    with np.load(path) as file:
        share.meta = file["meta"].tobytes()
        share.share_chunks = [file[f"chunk{i}"].tobytes() for i in range(len(file.files) - 1)]
    return share


def _compiled(run: Callable[..., Any], names: list[str], shapes: list[Any], output: str) -> Any:
    """An executable; every process compiles the same."""
    options = lib.CompilerOptions()
    options.enable_optimize_denominator_with_broadcast = True
    arguments = [np.zeros(shape, np.float32) for shape in shapes]
    secret = [lib.Visibility.VIS_SECRET] * len(names)
    executable, _ = frontend.compile(
        frontend.Kind.JAX, run, arguments, {}, names, secret, lambda flat: [output], copts=options
    )
    return executable


def _cached(weight: Any) -> Any:
    """Its masked form stays for all runs to come."""
    return make_cached_var(weight)


def _sends(log: str) -> int | None:
    """Messages of the last run, as SPU's profile counts them; under semi2k each is a round."""
    found = re.findall(r"Link details:.* send actions (\d+)", log)
    return int(found[-1]) if found else None


def main() -> None:
    """One party."""
    party, folder = Party(), Path(sys.argv[2])
    spu, job = Spu(party, folder), party.job
    shapes: dict[str, list[int]] = job["weight_shapes"]
    own = party.weights() or {}
    for name in shapes:
        spu.share(name, own.get(name), SERVER)
    spu.share("x", party.input(), CLIENT)
    names = list(shapes)
    used = list(names)
    if not spu.cheetah:
        used = [
            f"{name}.cached" if name.endswith("weight") and len(shapes[name]) == 2 else name for name in names
        ]
        for name, cached in zip(names, used, strict=True):
            if name != cached:
                spu.runtime.run(_compiled(_cached, [name], [shapes[name]], cached))
    program = PROGRAMS[party.case]

    def run(x: Any, *weights: Any) -> Any:
        return program(x, dict(zip(names, weights, strict=True)))

    executable = _compiled(run, ["x", *used], [job["shape"], *(shapes[name] for name in names)], "y")
    party.measure(lambda: spu.runtime.run(executable))
    output = spu.opened("y")
    sends = _sends((folder / f"log-{party.rank}").read_text("utf-8", errors="replace"))
    versions = {"spu": "0.9.5", "jax": jax.__version__}
    party.finish(output, rounds=None if spu.cheetah else sends, versions=versions)


if __name__ == "__main__":
    main()
