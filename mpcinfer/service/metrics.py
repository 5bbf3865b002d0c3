"""What a service counts for Prometheus; every name starts with `mpcinfer_`.

Labels take values of fixed lists, and names of clients those of the allow list: whatever else becomes
`other`, so that nobody from outside adds series. Nothing of a session's content is counted, but how many
tokens its passes had.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mpcinfer.service.logs import lost_lines
from parties.bill import Bill
from parties.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

OTHER = "other"
OUTCOMES = ("served", "failed", "crashed", "idle", "too long", "drained")
WORKER_STATES = ("starting", "ready", "busy")
MOST_CLIENTS = 1000
"""Names of an allow list that get a series of their own."""
SESSION_BUCKETS_S = tuple(map(float, (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)))
QUEUE_BUCKETS_S = tuple(map(float, (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600)))


class Metrics:
    """The counters of one service, in a registry of its own.

    Methods count; attributes are gauges of the library (`.set`, `.inc`, `.dec`). All are safe for any thread.

    Args:
        role: server, dealer or proxy.
        reasons: the words of refusals.
        clients: the names of the allow list at this moment.

    Raises:
        ConfigError: the library is missing.
    """

    def __init__(
        self,
        role: str,
        *,
        reasons: Collection[str] = (),
        clients: Callable[[], Collection[str]] = tuple,
    ) -> None:
        _require_installed()
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

        self.registry: CollectorRegistry = CollectorRegistry()
        self._reasons, self._clients = {*reasons}, clients
        ProcessCollector(namespace="mpcinfer", registry=self.registry)

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"mpcinfer_{name}", says, labels, registry=self.registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(f"mpcinfer_{name}", says, labels, registry=self.registry)

        def histogram(name: str, says: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"mpcinfer_{name}", says, buckets=buckets, registry=self.registry)

        self._info = Info("mpcinfer_service", "What serves.", registry=self.registry)
        self._info.info({"role": role})
        self._role = role
        self._started = counter("sessions_started", "Sessions that began.")
        self._ended = counter("sessions_ended", "Sessions that are over, by how they ended.", "outcome")
        self._refused = counter("sessions_refused", "Sessions that were not taken, by reason.", "reason")
        self._by_client = counter(
            "client_sessions", "Sessions that began, by name on the allow list.", "client"
        )
        self.running = gauge("sessions_running", "Sessions at hand.")
        self.queued = gauge("sessions_queued", "Sessions that wait for a worker.")
        self._session_seconds = histogram("session_seconds", "How long sessions took.", SESSION_BUCKETS_S)
        self._queue_seconds = histogram("queue_seconds", "How long sessions waited.", QUEUE_BUCKETS_S)
        self._workers = gauge("workers", "Processes for a session each, by what they do.", "state")
        self._restarts = counter("worker_restarts", "Workers that ended unasked and were replaced.")
        self._bytes = counter("bytes", "Bytes of sessions, by phase and receiver; as billed.", "phase", "to")
        self._rounds = counter("rounds", "Dependent exchanges of sessions, by phase; as billed.", "phase")
        self._tokens = counter("tokens", "Tokens of passes, prompts and answers together.")
        self._memory = gauge("memory_bytes", "Memory of the service and its workers.", "kind")
        self._dealt = counter("dealt_bytes", "Correlations that a dealer sent.")
        self.bundles_ready = gauge("dealer_bundles_ready", "Sessions dealt ahead that nobody has taken.")
        self.disk_bytes = gauge("dealer_disk_bytes", "What they take on disk.")
        self.draining = gauge("draining", "1 while no new session is taken because the service ends.")
        lost = gauge("log_lines_lost", "Lines of the log that could not be written since the start.")
        lost.set_function(lambda: float(lost_lines[0]))
        self._begin(reasons)

    def _begin(self, reasons: Collection[str]) -> None:
        """Series that are there from the start, at 0: a rate needs a first value."""
        for outcome in OUTCOMES:
            self._ended.labels(outcome)
        for reason in (*reasons, OTHER):
            self._refused.labels(reason)
        for state in WORKER_STATES:
            self._workers.labels(state)

    def serves(self, *, version: str, model: str = "", plan: str = "") -> None:
        """Says what serves, as labels of `mpcinfer_service_info`."""
        self._info.info({"role": self._role, "version": version, "model": model, "plan": plan})

    def session_started(self, client: str = "", queue_seconds: float | None = None) -> None:
        """A session begins.

        Args:
            client: its name on the allow list; empty where there is none.
            queue_seconds: how long it waited.
        """
        self._started.inc()
        self.running.inc()
        if client:
            known = sorted(self._clients())[:MOST_CLIENTS]
            self._by_client.labels(client if client in known else OTHER).inc()
        if queue_seconds is not None:
            self._queue_seconds.observe(queue_seconds)

    def session_ended(self, outcome: str, seconds: float, bill: Bill | None = None, tokens: int = 0) -> None:
        """A session is over; a bill adds its bytes and rounds."""
        self.running.dec()
        self._ended.labels(outcome if outcome in OUTCOMES else OTHER).inc()
        self._session_seconds.observe(seconds)
        self._tokens.inc(tokens)
        if bill is not None:
            self._add(bill)

    def session_refused(self, reason: str) -> None:
        """A session was not taken."""
        self._refused.labels(reason if reason in self._reasons else OTHER).inc()

    def set_workers(self, *, starting: int, ready: int, busy: int) -> None:
        """How many workers do what."""
        for state, count in zip(WORKER_STATES, (starting, ready, busy), strict=True):
            self._workers.labels(state).set(count)

    def worker_restarted(self) -> None:
        """A worker ended unasked."""
        self._restarts.inc()

    def set_memory(self, *, private: int, shared: int) -> None:
        """Bytes of the service and its workers."""
        self._memory.labels("private").set(private)
        self._memory.labels("shared").set(shared)

    def dealt(self, count: int) -> None:
        """A dealer sent so many bytes of correlations."""
        self._dealt.inc(count)

    def _add(self, bill: Bill) -> None:
        total = bill.total
        for phase, to, count in (
            ("online", "server", total.online_bytes_to_server),
            ("online", "client", total.online_bytes_to_client),
            ("offline", "server", total.offline_bytes_to_server),
            ("offline", "client", total.offline_bytes_to_client),
            ("wire", "server", total.wire_bytes_to_server),
            ("wire", "client", total.wire_bytes_to_client),
            ("setup", "both", total.setup_bytes),
            ("control", "both", total.control_bytes),
        ):
            self._bytes.labels(phase, to).inc(count)
        self._rounds.labels("online").inc(total.rounds)
        self._rounds.labels("offline").inc(total.offline_rounds)
        self._rounds.labels("setup").inc(total.setup_rounds)


class MetricsServer:
    """Answers Prometheus at /metrics with the library's own server, until closed.

    Args:
        endpoint: `host:port`; a port of 0 is a free one. Whoever reaches it reads the counters, without a
            password: loopback, or a network of the monitoring's own.

    Raises:
        ConfigError: no such endpoint, or it is taken.
    """

    def __init__(self, metrics: Metrics, endpoint: str) -> None:
        from prometheus_client import start_http_server

        host, port = host_and_port(endpoint)
        try:
            self._server, self._thread = start_http_server(port, host, registry=metrics.registry)
        except OSError as error:
            raise ConfigError(f"--metrics {endpoint}: {error.strerror}") from error
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stops answering; safe to repeat."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Both of `host:port`; raises ConfigError for anything else."""
    expected = ConfigError(f"--metrics takes host:port, such as 127.0.0.1:9464, got {endpoint[:80]!r}")
    try:
        parts = urlsplit(f"//{endpoint}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise expected from None
    if not host or port is None or parts.path or parts.query or parts.username is not None:
        raise expected
    return host, port


def exposition(metrics: Metrics) -> str:
    """What Prometheus would read at this moment."""
    from prometheus_client import generate_latest

    text: Any = generate_latest(metrics.registry)
    return bytes(text).decode("utf-8")


def _require_installed() -> None:
    if importlib.util.find_spec("prometheus_client") is None:
        raise ConfigError("prometheus_client is missing: pip install prometheus-client")
