"""A process of `bench.shared_weights`: says `ready` when it has done what it is for, and ends with its input.

    imports MODULE ...
    map FD MODEL PLAN
    serve FD MODEL PLAN FOLDER

FD is `own` for a process that encodes weights of its own, FOLDER `-` for no folder of correlations. `serve`
says its endpoint first, and `ready` after one session.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

WORKER = ("mpcinfer.roles.server", "mpcinfer.service.shared_weights")
"""What a worker imports, besides its suite's modules."""
_TIMEOUT_S = 600.0


def _imports(*modules: str) -> None:
    for module in modules:
        importlib.import_module(module)


def _config(fd: str, model: str, plan: str, folder: str) -> Any:
    from mpcinfer.models.load import load_model, load_public
    from mpcinfer.plans import plan_from
    from mpcinfer.service.shared_weights import SharedWeights
    from mpcinfer.sessions.session_config import SessionConfig
    from mpcinfer.suites.registry import suite_of
    from mpcinfer.suites.suite import DEALER

    chosen = plan_from(plan, None)
    suite = suite_of(chosen)
    suite.load()
    session_config = SessionConfig(
        plan=chosen,
        public=load_public(model),
        weights=load_model(model).weights if fd == "own" else None,
        correlations=None if folder == "-" else Path(folder),
        insecure_dealer=folder == "-" and DEALER in suite.helpers,
        timeout_s=_TIMEOUT_S,
    )
    if fd != "own":
        with SharedWeights.open(int(fd)) as shared:
            session_config = shared.into(session_config)
    session_config = suite.ready(session_config)
    len(session_config.encoded or ())
    return session_config


def _map(fd: str, model: str, plan: str) -> Any:
    """All weights are read as the set-up and a pass read them: minus a mask, and times a row."""
    import torch

    from parties.randomness import AesCtrStream, SystemRandom
    from protocols.kernels.ring_products import ring_matmul
    from protocols.tensors import drawn

    session_config = _config(fd, model, plan, "-")
    mask = AesCtrStream(SystemRandom().draw_bytes(16))
    for matrix in (session_config.encoded or {}).values():
        flat = matrix.value.reshape(-1)
        for start in range(0, len(flat), 1 << 17):
            part = flat[start : start + (1 << 17)]
            _ = part.to(torch.int64) - drawn(mask, (len(part),), 64)
        if matrix.value.dim() == 2:
            ring_matmul(torch.ones((1, matrix.shape[0]), dtype=torch.int64), matrix.value)
    for weight in (session_config.weights or {}).values() if not session_config.encoded else ():
        weight.sum()
    return session_config


def _serve(fd: str, model: str, plan: str, folder: str) -> Any:
    from mpcinfer.roles.server import serve_channel
    from parties.memory import keep_memory
    from parties.tcp import Listener

    keep_memory()
    session_config = _config(fd, model, plan, folder)
    listener = Listener("tcp://127.0.0.1:*", None, [], allow_insecure=True)
    print(listener.endpoint, flush=True)
    serve_channel(listener.accept(_TIMEOUT_S, _TIMEOUT_S), session_config)
    return session_config


def main() -> None:
    """Command line."""
    kind, *rest = sys.argv[1:]
    kept = {"imports": _imports, "map": _map, "serve": _serve}[kind](*rest)
    print("ready", os.getpid(), flush=True)
    sys.stdin.read()
    del kept


if __name__ == "__main__":
    main()
