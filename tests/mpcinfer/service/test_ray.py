"""A front's workers and dealing on a Ray cluster of two nodes, which are two sets of processes here."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mpcinfer.clear import ClearModel
from mpcinfer.models.folder import load_model_folder, load_public_folder, save_model
from mpcinfer.plans import plan_from
from mpcinfer.roles.connect import connect_client
from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.front import Front
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.ray_cluster import RayCluster
from mpcinfer.service.ray_tasks import RayTasks
from mpcinfer.service.ray_workers import RayWorker
from mpcinfer.service.server_terms import ServerTerms
from mpcinfer.service.worker import State
from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.requests import Ahead
from parties.admission import ADMISSION_LABEL
from parties.errors import ConfigError
from parties.keys import KeyPair, new_keypair
from parties.tcp import Reception
from protocols.fss.preprocessing.bundle_store import Store
from tests.deadlines import HANG_S, until
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: the extra `ray`")
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PLAN, PROMPT, TOKENS = "fss-faithful", "def f(x", 3
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)


@pytest.fixture(scope="module")
def cluster() -> Generator[RayCluster]:
    """Two nodes of one core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        running = _two_nodes()
        with closing(RayCluster(running.address)) as cluster:
            yield cluster
        running.shutdown()


def _two_nodes(tries: int = 5) -> Any:
    """Nodes have 30 seconds to start, which Ray sets and a busy machine may not hold."""
    running = cluster_utils.Cluster()
    while len(running.list_all_nodes()) < 2:
        try:
            running.add_node(num_cpus=1, include_dashboard=False)
        except Exception:
            tries -= 1
            if not tries:
                running.shutdown()
                raise
    return running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, random_model(SMALL))
    return folder


def deal(cluster: RayCluster, model: Path, out: Path, count: int) -> Path:
    plan, known = plan_from(PLAN, []), load_model_folder(model)
    tasks = RayTasks(cluster)
    ahead = Ahead(prompt=7, answer=TOKENS, count=count, out=out, command="mpcinfer deal ...", elsewhere=tasks)
    suite_of(plan).deal_ahead(plan, known.config, known.ranges, ahead)
    return out


class Serving:
    """A front in a thread, whose workers are on the cluster, a folder of correlations each."""

    def __init__(self, cluster: RayCluster, model: Path, folder: Path, dealt: list[Path]) -> None:
        self.pair = new_keypair(folder, "server")
        self.clients = {name: new_keypair(folder / "clients", name) for name in ("ann", "bob")}
        self.notes: list[dict[str, Any]] = []
        self.workers: list[RayWorker] = []
        waiting = list(dealt)

        def start() -> RayWorker:
            terms = ServerTerms(
                model=str(model),
                plan=PLAN,
                choices=[],
                key=str(folder / "server.secret"),
                listen="tcp://127.0.0.1:7100",
                correlations=str((waiting.pop(0) if waiting else dealt[0]) / "server"),
                timeout_s=HANG_S,
                accept_s=HANG_S,
            )
            worker = RayWorker(cluster, "serving_worker", {"server": terms.to_document()})
            self.workers.append(worker)
            return worker

        allowed = AllowList(folder / "clients")
        self.reception = Reception(
            ["tcp://127.0.0.1:*"],
            self.pair,
            ADMISSION_LABEL,
            may_enter=lambda key: key in allowed,
            on_malformed=lambda key, why: None,
        )
        self.pool = Pool(2, start)
        limits = Limits(sessions=2, wait_s=HANG_S, accept_s=HANG_S, drain_s=0.0)
        self.front = Front(self.reception, {"client": allowed}, limits, self.pool, self._note)
        self._thread = threading.Thread(target=self.front.run)
        self._thread.start()

    def _note(self, event: str, **fields: Any) -> None:
        self.notes.append({"event": event, **fields})

    def close(self) -> None:
        self.front.drain()
        self._thread.join(HANG_S)
        self.pool.close()
        self.reception.close()


def ask(serving: Serving, model: Path, keys: KeyPair, correlations: Path) -> tuple[list[int], list[str]]:
    with connect_client(
        load_public_folder(model),
        plan_from(PLAN, []),
        keys=keys,
        server=Address(serving.reception.endpoints[0], serving.pair.public),
        dealer=None,
        correlations=correlations / "client",
        timeout_s=HANG_S,
        patience_s=HANG_S,
    ) as client:
        ids = list(client.complete(PROMPT, max_new_tokens=TOKENS).ids)
        return ids, client.finish().notes


def test_a_session_on_each_node_is_right_over_correlations_that_tasks_dealt(
    cluster: RayCluster, model: Path, tmp_path: Path
) -> None:
    dealt = [deal(cluster, model, tmp_path / name, count=2) for name in ("one", "two")]
    right = ClearModel(load_model_folder(model), fixed_point=True, plan=PLAN, max_context=7 + TOKENS)
    expected = list(right.complete(PROMPT, max_new_tokens=TOKENS).ids)
    with closing(Serving(cluster, model, tmp_path / "keys", dealt)) as serving:
        assert until(lambda: serving.pool.count(State.READY) == 2), serving.notes
        first, second = serving.workers
        assert len({first.node, second.node}) == 2
        assert {first.host, second.host} == set(cluster.nodes)
        for name, folder in zip(serving.clients, dealt, strict=True):
            ids, notes = ask(serving, model, serving.clients[name], folder)
            assert ids == expected
            assert any("exactly as billed" in note for note in notes), notes
        assert until(lambda: serving.front.served == 2), serving.notes
    assert all(worker.state is State.ENDED for worker in serving.workers)
    for folder in dealt:
        for party in ("server", "client"):
            with closing(Store(folder / party)) as store:
                assert store.next == 1  # one of two was used


def test_a_worker_whose_actor_is_killed_ends_and_another_takes_its_place(
    cluster: RayCluster, model: Path, tmp_path: Path
) -> None:
    dealt = [deal(cluster, model, tmp_path / "one", count=1)]
    with closing(Serving(cluster, model, tmp_path / "keys", dealt)) as serving:
        assert until(lambda: serving.pool.count(State.READY) >= 1), serving.notes
        victim = next(worker for worker in serving.pool.workers if worker.state is State.READY)
        assert isinstance(victim, RayWorker)
        cluster.ray.kill(victim._actor)
        assert until(lambda: victim.state is State.ENDED)
        assert until(lambda: serving.pool.restarts >= 1)
        assert until(lambda: len(serving.pool.workers) == 2)


def test_what_a_task_raises_is_raised_here_and_leaves_no_usable_folder(
    cluster: RayCluster, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="task on the Ray cluster failed: ZeroDivisionError"):
        list(RayTasks(cluster).run(_fails, [(1,), (0,)]))
    with pytest.raises(ConfigError, match="on purpose"):
        list(RayTasks(cluster).run(_refuses, [()]))


def _fails(divisor: int) -> Generator[float, None, None]:
    yield 1.0
    yield 1.0 / divisor


def _refuses() -> Generator[int, None, None]:
    yield 1
    raise ConfigError("on purpose")
