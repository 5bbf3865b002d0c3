"""A process that maps shared weights, reads all of them and says so.

    python -m tests.mpcinfer.service.mapped_process FD

Says `read`. For every line that it is then told, when others have read, too, it writes one of JSON: the
digest, the sum of each tensor, and what it has of the mapping's memory. It stays until its input ends.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys

import torch

from mpcinfer.service.process_memory import ProcessMemory
from mpcinfer.service.shared_weights import SharedWeights


def main() -> None:
    with SharedWeights.open(int(sys.argv[1])) as shared:
        sums = {name: float(each.sum(dtype=torch.float64)) for name, each in shared.tensors.items()}
    print("read", flush=True)
    for _ in sys.stdin:
        memory = dataclasses.asdict(ProcessMemory.of_mapping(os.getpid(), "mpcinfer-weights"))
        print(json.dumps({"digest": shared.digest, "sums": sums, "memory": memory}), flush=True)


if __name__ == "__main__":
    main()
