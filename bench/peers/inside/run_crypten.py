"""CrypTen 0.4.1 as published: its gloo communicator, trusted first party, softmax and inverse square root.

It has no GELU and no layer norm: both are written with its own tanh, mean and inverse square root. Its
decoder is replaced: it takes 1 from a share of negative results.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bench.peers.inside.gloo_store import through_relays
from bench.peers.inside.party import CLIENT, HOST, SERVER, Party

HEADS = 12
EPS = 1e-5
MASKED = -100.0
"""Below -512 its exp leaves its range."""


def _import_crypten() -> Any:
    """Without its ONNX converter, which does not import on this torch."""
    stub: Any = types.ModuleType("crypten.nn.onnx_converter")
    stub.from_onnx = stub.from_pytorch = stub.from_tensorflow = None
    stub.TF_AND_TF2ONNX = False
    sys.modules[stub.__name__] = stub
    import crypten

    return crypten


def gelu(x: Any) -> Any:
    inner = (x + x * x.square() * 0.044715) * 0.7978845608
    return x * (inner.tanh() + 1) * 0.5


def softmax(x: Any) -> Any:
    unseen = torch.full(tuple(x.shape[-2:]), MASKED).triu(1)
    return (x + unseen).softmax(-1)


def layernorm(x: Any) -> Any:
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred * (variance + EPS).inv_sqrt()


def attention(x: Any, w: Mapping[str, Any]) -> Any:
    qkv = x.matmul(w["attn.qkv.weight"])
    if "attn.qkv.bias" in w:
        qkv = qkv + w["attn.qkv.bias"]
    width = qkv.shape[-1] // 3
    parts = (qkv[:, i * width : (i + 1) * width] for i in range(3))
    q, k, v = (part.reshape(x.shape[0], HEADS, -1).transpose(0, 1) for part in parts)
    scores = q.matmul(k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    mixed = softmax(scores).matmul(v).transpose(0, 1)
    return mixed.reshape(x.shape[0], width).matmul(w["attn.out.weight"])


def block(x: Any, w: Mapping[str, Any]) -> Any:
    normed = layernorm(x) * w["norm1.weight"] + w["norm1.bias"]
    x = x + attention(normed, w) + w["attn.out.bias"]
    normed = layernorm(x) * w["norm2.weight"] + w["norm2.bias"]
    hidden = gelu(normed.matmul(w["ffn.in.weight"]) + w["ffn.in.bias"])
    return x + hidden.matmul(w["ffn.out.weight"]) + w["ffn.out.bias"]


def softmax_block(x: Any, w: Mapping[str, Any]) -> Any:
    x = x + attention(x, w)
    return x + x.matmul(w["ffn.out.weight"])


PROGRAMS: dict[str, Any] = {
    "matmul": lambda x, w: x.matmul(w["weight"]),
    "relu": lambda x, w: x.relu(),
    "gelu": lambda x, w: gelu(x),
    "softmax": lambda x, w: softmax(x),
    "layernorm": lambda x, w: layernorm(x),
    "block": block,
    "softmax-block": softmax_block,
}


def main() -> None:
    """One party."""
    torch.set_num_threads(1)
    party = Party()
    crypten = _import_crypten()
    through_relays(party, f"tcp://{HOST}:{party.job['store']}")
    crypten.init()
    crypten.cfg.communicator.verbose = True
    communicator = crypten.communicator.get()
    shapes = party.job["weight_shapes"]
    own, x = party.weights() or {}, party.input()
    with crypten.no_grad():
        encrypted = {name: _shared(crypten, own.get(name), shapes[name], SERVER) for name in shapes}
        value = _shared(crypten, x, party.job["shape"], CLIENT)
        y = party.measure(
            lambda: PROGRAMS[party.case](value, encrypted), communicator.reset_communication_stats
        )
        rounds = communicator.comm_rounds
        opened = y.reveal().double() / y.encoder.scale
    versions = {"crypten": "0.4.1", "torch": torch.__version__}
    party.finish(opened.numpy() if party.rank == CLIENT else None, rounds=rounds, versions=versions)


def _shared(crypten: Any, value: np.ndarray[Any, Any] | None, shape: list[int], owner: int) -> Any:
    tensor = torch.zeros(shape) if value is None else torch.from_numpy(value)
    return crypten.cryptensor(tensor, src=owner)


if __name__ == "__main__":
    main()
