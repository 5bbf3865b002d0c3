"""Counters: named, bounded, and read over HTTP as Prometheus does."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mpcinfer.service.metrics import (
    MOST_CLIENTS,
    OTHER,
    Metrics,
    MetricsServer,
    exposition,
    host_and_port,
)
from parties.bill import Bill, BillRow
from parties.errors import ConfigError
from tests.deadlines import HANG_S


def values(metrics: Metrics) -> dict[str, float]:
    """Every sample, as Prometheus's own parser reads it."""
    return {
        "".join([sample.name, *(f",{value}" for value in sample.labels.values())]): sample.value
        for family in text_string_to_metric_families(exposition(metrics))
        for sample in family.samples
    }


def test_every_name_is_ours() -> None:
    names = {sample.partition(",")[0] for sample in values(Metrics("server"))}
    assert names
    assert {name for name in names if not name.startswith("mpcinfer_")} == set()


def test_a_session_is_counted_with_its_bill() -> None:
    metrics = Metrics("server", clients=lambda: ["lab-2"])
    row = BillRow(label="x", rounds=4, online_bytes_to_server=10, online_bytes_to_client=20, setup_bytes=5)
    metrics.session_started("lab-2", queue_seconds=0.3)
    assert values(metrics)["mpcinfer_sessions_running"] == 1
    metrics.session_ended("served", 3.0, Bill(rows=[row]), tokens=12)
    metrics.session_started("lab-2")
    metrics.session_ended("crashed", 1.0)
    found = values(metrics)
    expected = {
        "mpcinfer_sessions_running": 0,
        "mpcinfer_sessions_started_total": 2,
        "mpcinfer_sessions_ended_total,served": 1,
        "mpcinfer_sessions_ended_total,crashed": 1,
        "mpcinfer_client_sessions_total,lab-2": 2,
        "mpcinfer_bytes_total,online,server": 10,
        "mpcinfer_bytes_total,online,client": 20,
        "mpcinfer_bytes_total,setup,both": 5,
        "mpcinfer_rounds_total,online": 4,
        "mpcinfer_tokens_total": 12,
        "mpcinfer_session_seconds_count": 2,
        "mpcinfer_queue_seconds_count": 1,
    }
    assert {name: found[name] for name in expected} == expected


def test_nobody_from_outside_adds_a_series() -> None:
    """Names that are not on the allow list, reasons and outcomes that there are not, all become one."""
    metrics = Metrics("server", reasons=["busy"], clients=lambda: ["lab-2"])
    metrics.session_started("lab-2")
    metrics.session_refused("busy")
    before = {*values(metrics)}
    for number in range(50):
        metrics.session_started(f"stranger {number}")
        metrics.session_refused(f"reason {number}")
        metrics.session_ended(f"outcome {number}", 1.0)
    added = {name for name in {*values(metrics)} - before if "_created" not in name}
    assert added == {f"mpcinfer_client_sessions_total,{OTHER}", f"mpcinfer_sessions_ended_total,{OTHER}"}
    assert values(metrics)[f"mpcinfer_sessions_refused_total,{OTHER}"] == 50


def test_a_long_allow_list_is_cut() -> None:
    names = [f"client-{number:05}" for number in range(2 * MOST_CLIENTS)]
    metrics = Metrics("server", clients=lambda: names)
    for name in (names[0], names[-1]):
        metrics.session_started(name)
    assert values(metrics)[f"mpcinfer_client_sessions_total,{OTHER}"] == 1


def test_gauges_say_what_is_now() -> None:
    metrics = Metrics("dealer")
    metrics.serves(version="1.2", model="m", plan="fss")
    metrics.set_workers(starting=1, ready=2, busy=3)
    metrics.worker_restarted()
    metrics.set_memory(private=7, shared=9)
    metrics.queued.set(4)
    metrics.bundles_ready.set(5)
    metrics.disk_bytes.set(6)
    metrics.dealt(8)
    found = values(metrics)
    expected = {
        "mpcinfer_service_info,m,fss,dealer,1.2": 1,
        "mpcinfer_workers,starting": 1,
        "mpcinfer_workers,ready": 2,
        "mpcinfer_workers,busy": 3,
        "mpcinfer_worker_restarts_total": 1,
        "mpcinfer_memory_bytes,private": 7,
        "mpcinfer_memory_bytes,shared": 9,
        "mpcinfer_sessions_queued": 4,
        "mpcinfer_dealer_bundles_ready": 5,
        "mpcinfer_dealer_disk_bytes": 6,
        "mpcinfer_dealt_bytes_total": 8,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_prometheus_reads_them_until_it_is_closed() -> None:
    metrics = Metrics("server")
    with MetricsServer(metrics, "127.0.0.1:0") as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=HANG_S) as answer:
            assert "mpcinfer_sessions_running 0.0" in answer.read().decode()
        with pytest.raises(ConfigError, match=re.escape(f"--metrics 127.0.0.1:{server.port}")):
            MetricsServer(metrics, f"127.0.0.1:{server.port}")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=HANG_S)


@pytest.mark.parametrize(
    "wrong", ["9464", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "a:1/b", "u@a:1", ""]
)
def test_an_endpoint_is_a_host_and_a_port(wrong: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        host_and_port(wrong)
    assert host_and_port("[::1]:9464") == ("::1", 9464)
