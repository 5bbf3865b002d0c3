"""The meter's ledger and the bill it makes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from parties.bill import Bill, BillRow
from parties.errors import MalformedFrame
from parties.meter import CLIENT, SERVER, Clock, Meter, Phase


def _charge(meter: Meter, receiver: int, payload_bytes: int, depth: int) -> None:
    meter.charge_frame(receiver, payload_bytes=payload_bytes, wire_bytes=payload_bytes + 10, depth=depth)


def _bill() -> Bill:
    meter = Meter(timed=False)
    with meter.phase(Phase.CONTROL), meter.span("session", "control"):
        _charge(meter, SERVER, 7, 0)
    with meter.phase(Phase.SETUP), meter.span("weights", "setup"):
        _charge(meter, SERVER, 100, 1)
        _charge(meter, CLIENT, 100, 1)
    for layer in range(2):
        with meter.span(f"layer{layer}"), meter.span("attn"), meter.span("softmax", "softmax"):
            meter.charge_offline(SERVER, 5)
            meter.charge_offline(CLIENT, 6)
            with meter.span("max"):
                _charge(meter, CLIENT, 20, 2 + 2 * layer)
            _charge(meter, SERVER, 30, 3 + 2 * layer)
            _charge(meter, SERVER, 1, 2)
    meter.notes.append("a note")
    return meter.bill()


def test_rows_by_label() -> None:
    rows = {row.label: row for row in _bill().rows}
    assert list(rows) == [
        "session",
        "weights",
        "layer0.attn.softmax",
        "layer0.attn.softmax.max",
        "layer1.attn.softmax",
        "layer1.attn.softmax.max",
    ]
    assert rows["session"] == BillRow(
        label="session", kind="control", control_bytes=7, wire_bytes_to_server=17
    )
    assert rows["weights"] == BillRow(
        label="weights",
        kind="setup",
        setup_bytes=200,
        setup_rounds=1,
        wire_bytes_to_server=110,
        wire_bytes_to_client=110,
    )
    assert rows["layer1.attn.softmax"] == BillRow(
        label="layer1.attn.softmax",
        kind="softmax",
        rounds=1,
        online_bytes_to_server=31,
        offline_bytes_to_server=5,
        offline_bytes_to_client=6,
        wire_bytes_to_server=51,
        online_wire_bytes_to_server=51,
    )
    assert (rows["layer0.attn.softmax.max"].rounds, rows["layer0.attn.softmax.max"].kind) == (1, "softmax")


def test_totals_and_groups_add_up() -> None:
    bill = _bill()
    total = bill.total
    assert (total.rounds, total.setup_rounds, total.online_bytes_to_server) == (4, 1, 62)
    assert (total.offline_bytes_to_server, total.offline_bytes_to_client) == (10, 12)
    assert total.seconds is None
    for groups in (bill.by_kind(), bill.by_layer()):
        assert Bill(rows=groups).total == total
    assert [row.label for row in bill.by_kind()] == ["control", "setup", "softmax"]
    assert [row.label for row in bill.by_layer()] == ["session", "weights", "layer0", "layer1"]


def test_json_round_trip() -> None:
    bill = _bill()
    document = json.loads(json.dumps(bill.to_json()))
    assert Bill.from_json(document) == bill
    assert document["rounds"] == 4
    assert document["seconds"] is None
    assert document["labels"][1]["setup_bytes"] == 200


def _without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def test_documents_that_are_no_bill() -> None:
    sound = _bill().to_json()
    row = sound["labels"][0]
    for document in (
        {},
        _without(sound, "labels"),
        _without(sound, "notes"),
        {**sound, "labels": "rows"},
        {**sound, "labels": [1]},
        {**sound, "labels": [_without(row, "rounds")]},
        {**sound, "labels": [{**row, "surplus": 1}]},
        {**sound, "labels": [{**row, "rounds": "1"}]},
        {**sound, "labels": [{**row, "label": 1}]},
        {**sound, "labels": [{**row, "seconds": "long"}]},
    ):
        with pytest.raises(MalformedFrame):
            Bill.from_json(document)


def test_a_bill_is_a_copy() -> None:
    meter = Meter(timed=False)
    _charge(meter, SERVER, 1, 1)
    before = meter.bill()
    _charge(meter, SERVER, 1, 2)
    assert (before.total.rounds, meter.bill().total.rounds) == (1, 2)
    assert before.rows[0].label == "other"


def test_seconds_go_to_the_innermost_span(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = Meter()
    with meter.span("outer"):
        now[0] += 1
        with meter.span("inner"):
            now[0] += 10
        now[0] += 2
        with meter.span("inner"):
            now[0] += 20
    now[0] += 1000
    seconds = {row.label: row.seconds for row in meter.bill().rows}
    assert seconds == {"outer": 3, "outer.inner": 30}


def test_seconds_of_the_offline_phase_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = Meter()
    with meter.span("layer0"):
        now[0] += 1
        with meter.phase(Phase.OFFLINE):
            now[0] += 10
        now[0] += 2
    [row] = meter.bill().rows
    assert (row.seconds, row.offline_seconds) == (3, 10)


def test_spans_and_phases_end_with_an_error() -> None:
    meter = Meter(timed=False)
    with pytest.raises(ZeroDivisionError), meter.phase(Phase.CONTROL), meter.span("broken"):
        raise ZeroDivisionError
    assert (meter.label, meter.clock) == ("other", Clock.ONLINE)


def test_online_wire_bytes_leave_other_phases_out() -> None:
    meter = Meter(timed=False)
    for phase in (Phase.CONTROL, Phase.SETUP, Phase.OFFLINE):
        with meter.phase(phase), meter.span("layer"):
            _charge(meter, SERVER, 100, 1)
    with meter.span("layer"):
        _charge(meter, SERVER, 5, 2)
    (row,) = meter.bill().rows
    assert (row.wire_bytes_to_server, row.online_wire_bytes_to_server) == (3 * 110 + 15, 15)
    assert row.offline_bytes_to_server == 100
