"""Bytes and seconds of RLWE products for a block of GPT-2 at 128 tokens, both parties in one process.

    python -m bench.rlwe_products                a table
    python -m bench.rlwe_products --ring 37      for another ring
    python -m bench.rlwe_products --norm 16384   for another bound on the norm of weights' columns

Seconds are those of the processor, of all threads of the party's role; keys are sent once a session and are
not in them. Results are compared with the products.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import Randomness, SystemRandom
from protocols.rlwe.costs import (
    answer_bytes,
    key_bytes,
    query_bytes,
    vector_answer_bytes,
    vector_query_bytes,
)
from protocols.rlwe.elementwise import evaluator_products, holder_products
from protocols.rlwe.keys import receive_keys, send_keys
from protocols.rlwe.matrix_evaluator import evaluator_product
from protocols.rlwe.matrix_holder import holder_product
from protocols.rlwe.parameters import RlweParameters, matrix_parameters, private_norm
from protocols.rlwe.slot_parameters import SlotParameters, slot_parameters
from protocols.rlwe.tiles import MatrixShape

LAYERS = {
    "attention in": MatrixShape(1, 128, 768, 2304),
    "attention out": MatrixShape(1, 128, 768, 768),
    "FFN in": MatrixShape(1, 128, 768, 3072),
    "FFN out": MatrixShape(1, 128, 3072, 768),
}
PRIVATE = {
    "scores, one cross term": MatrixShape(12, 128, 64, 128),
    "values, one cross term": MatrixShape(12, 128, 128, 64),
}
VECTOR = 1 << 20

Work = Callable[[Link, Randomness], Any]


@dataclass(frozen=True, slots=True)
class Timed:
    """What one product took: seconds of the holder and of the evaluator, and whether it was right."""

    holder: float
    evaluator: float
    right: bool


def timed(
    keys: RlweParameters | SlotParameters, holder: Any, evaluator: Any
) -> tuple[Any, Any, float, float]:
    """Runs both in threads of their own; their shares, and seconds after the keys."""
    ends = local_pair()

    def run(rank: int) -> tuple[Any, float]:
        meter = Meter(timed=False)
        with Link(ends[rank], meter, rank) as link, meter.phase(Phase.OFFLINE):
            stream = SystemRandom()
            held = send_keys(link, keys, stream) if rank == CLIENT else receive_keys(link, keys)
            started = time.thread_time()
            share = (holder if rank == CLIENT else evaluator)(link, held, stream)
            return share, time.thread_time() - started

    with ThreadPoolExecutor(2) as pool:
        client, server = pool.submit(run, CLIENT), pool.submit(run, SERVER)
        (first, holder_s), (second, evaluator_s) = client.result(), server.result()
    return first, second, holder_s, evaluator_s


def matrix_time(p: RlweParameters, shape: MatrixShape, width: float) -> Timed:
    """Of a product with normal weights of this standard deviation."""
    draw = np.random.default_rng(1)
    low = np.uint64((1 << p.ring_bits) - 1)
    left = draw.integers(0, 1 << p.ring_bits, (shape.batch, shape.rows, shape.inner)).astype(np.uint64)
    edge = 1 << (p.ring_bits - 1)
    right = np.rint(draw.normal(0, width, (shape.batch, shape.inner, shape.columns))).clip(-edge, edge - 1)
    weights = right.astype(np.int64)
    client, server, holder, evaluator = timed(
        p,
        lambda link, key, stream: holder_product(link, key, left, shape.columns, stream),
        lambda link, keys, stream: evaluator_product(link, keys, weights, shape.rows, stream),
    )
    exact = np.array_equal((client + server) & low, (left @ weights.astype(np.uint64)) & low)
    return Timed(holder, evaluator, exact)


def vector_time(p: SlotParameters) -> Timed:
    """Of `VECTOR` products of numbers."""
    low = np.uint64((1 << p.ring_bits) - 1)
    x, y = np.random.default_rng(1).integers(0, 1 << p.ring_bits, (2, VECTOR)).astype(np.uint64)
    client, server, holder, evaluator = timed(
        p,
        lambda link, key, stream: holder_products(link, key, x, stream),
        lambda link, keys, stream: evaluator_products(link, keys, y, stream),
    )
    return Timed(holder, evaluator, np.array_equal((client + server) & low, (x * y) & low))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ring", type=int, default=37, help="bits of the ring")
    parser.add_argument("--norm", type=float, default=2.0**14, help="root mean square norm of columns")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("product", "N", "primes", "to evaluator MB", "back MB", "holder s", "evaluator s", "exact")
    p, private = (
        matrix_parameters(options.ring, options.norm),
        matrix_parameters(options.ring, private_norm(options.ring, 128)),
    )
    sums = np.zeros(4)
    cases = [(name, shape, p, 0.9 * options.norm / shape.inner**0.5) for name, shape in LAYERS.items()]
    cases += [(name, shape, private, 2.0 ** (options.ring - 3)) for name, shape in PRIVATE.items()]
    for name, shape, parameters, width in cases:
        took = matrix_time(parameters, shape, width)
        sent = query_bytes(parameters, shape) / 1e6, answer_bytes(parameters, shape) / 1e6
        row = np.array([*sent, took.holder, took.evaluator])
        sums += row if name in LAYERS else 0
        table.add_row(name, *_cells(parameters, row), str(took.right))
        if name == "FFN out":
            table.add_row("linear layers of a block", *_cells(parameters, sums), "")
    slots = slot_parameters(options.ring)
    took = vector_time(slots)
    sent = vector_query_bytes(slots, VECTOR) / 1e6, vector_answer_bytes(slots, VECTOR) / 1e6
    row = np.array([*sent, took.holder, took.evaluator])
    table.add_row(f"{VECTOR} numbers", *_cells(slots, row), str(took.right))
    console = Console()
    console.print(table)
    for kind, each in (("weights", p), ("private matrices", private), ("vectors", slots)):
        console.print(f"keys for {kind}: {key_bytes(each) / 1e6:.2f} MB, once a session")


def _cells(parameters: RlweParameters | SlotParameters, row: Any) -> list[str]:
    return [str(parameters.degree), str(len(parameters.primes)), *(f"{x:.2f}" for x in row)]


if __name__ == "__main__":
    main()
