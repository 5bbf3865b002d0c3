"""Workers on any node of a Ray cluster, for a front on this machine."""

from __future__ import annotations

import importlib
import os
import queue
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from mpcinfer.service.ray_cluster import RayCluster
from mpcinfer.service.ray_keeper import Keeper
from mpcinfer.service.worker import State

_LOOK_S = 1.0
_LOST = -1


class RayWorker:
    """A worker like `WorkerProcess`, on a node that Ray picks: one core of it.

    What goes through Ray are names, paths and public keys of the terms, and what the worker says: nothing
    secret of a session, whose parties meet at the worker's own port. The node needs the same mpcinfer, and
    the files that the terms name in the same places: the server's secret key, too.

    Args:
        cluster: where.
        module: of `mpcinfer.service`, the worker's: `serving_worker`.
        terms: what it is told first.

    Attributes:
        pid: of the process on its node; 0 until it is known.
        host, node: address and Ray's id of the node; None and empty until they are known.
        state: as far as was heard.
        exit_code: once it ended.

    Raises:
        InsecureRefused: the cluster has other machines by now, and no TLS.
    """

    def __init__(self, cluster: RayCluster, module: str, terms: dict[str, Any]) -> None:
        cluster.require_private()
        self._ray = cluster.ray
        self.pid, self.state, self.exit_code = 0, State.STARTING, None
        self.host: str | None = None
        self.node = ""
        self._private = 0
        self._news: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._heard, self._tell = os.pipe()
        os.set_blocking(self._heard, False)
        self._closed = threading.Event()
        actor = self._ray.remote(_KeptByRay).options(
            num_cpus=1, scheduling_strategy="SPREAD", max_restarts=0, max_concurrency=3
        )
        self._actor = actor.remote(module, terms, str(Path.cwd()))
        self._listener = threading.Thread(target=self._listen, name="ray worker", daemon=True)
        self._listener.start()

    @property
    def descriptor(self) -> int:
        """Has something to read when the worker said something or ended."""
        return self._heard

    def serve(self, parties: dict[str, str], name: str) -> None:
        """Whom to serve: public keys by role."""
        self.state = State.SERVING
        self._actor.serve.remote(parties, name)

    def events(self) -> list[dict[str, Any]]:
        """What it said since the last call; at last `{"event": "ended", "code": c}`, with -1 for a node that
        is gone or could not start it."""
        with suppress(BlockingIOError):
            os.read(self._heard, 1 << 10)
        events: list[dict[str, Any]] = []
        while self.state is not State.ENDED and not self._news.empty():
            event = self._news.get()
            match event["event"]:
                case "started":
                    self.pid, self.host, self.node = event["pid"], event["host"], event["node"]
                case "ready" if self.state is State.STARTING:
                    self.state = State.READY
                case "ended":
                    self.state, self.exit_code = State.ENDED, event["code"]
                case _:
                    pass
            events.append(event)
        if self.state is State.ENDED:
            self.close(0.0)
        return events

    def private_bytes(self) -> int:
        """Memory that it shares with nobody, a second ago; 0 once it is gone."""
        return self._private

    def end(self, *, at_once: bool = False) -> None:
        """Asks it to end, or ends it."""
        self._actor.end.remote(at_once)

    def close(self, timeout_s: float) -> None:
        """Ends it, if it has not, and waits until it has; safe to repeat."""
        if self._closed.is_set():
            return
        if self.state is not State.ENDED:
            self.end()
            self._listener.join(timeout_s)
        self._ray.kill(self._actor)
        self._listener.join(timeout_s + _LOOK_S)
        self._closed.set()
        self.state = State.ENDED
        for descriptor in (self._heard, self._tell):
            os.close(descriptor)

    def _listen(self) -> None:
        """Passes on what the worker says, in a thread."""
        code, said = _LOST, list[dict[str, Any]]()
        with suppress(self._ray.exceptions.RayError):  # the node or the actor is gone: said is the last
            self._pass_on([self._ray.get(self._actor.started.remote())])
            while True:
                said, self._private = self._ray.get(self._actor.news.remote(_LOOK_S))
                if said and said[-1]["event"] == "ended":
                    code = said.pop()["code"]
                    break
                self._pass_on(said)
        self._private = 0
        self._pass_on([*said, {"event": "ended", "code": code}])

    def _pass_on(self, said: list[dict[str, Any]]) -> None:
        for event in said:
            self._news.put(event)
        if said:
            os.write(self._tell, b"\0")


class _KeptByRay(Keeper):
    """A keeper at the address of the node that it finds itself on."""

    def __init__(self, module: str, terms: dict[str, Any], folder: str) -> None:
        ray: Any = importlib.import_module("ray")
        super().__init__(module, terms, folder, str(ray.util.get_node_ip_address()))
        self._node = str(ray.get_runtime_context().get_node_id())

    def started(self) -> dict[str, Any]:
        """What its process is, and where."""
        return {**super().started(), "node": self._node}
