"""The catalogue has everything that is registered, with costs that follow from declarations."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
import torch

import protocols.fss.gates
from mpcinfer import cost
from mpcinfer.catalogue import listing
from mpcinfer.models.folded import folded_config
from mpcinfer.models.load import load_config
from mpcinfer.suites.arithmetic import samples as arithmetic
from mpcinfer.suites.entry import Entry, ErrorKind, StatedError, source_of, summary_of
from mpcinfer.suites.fss import catalogue as fss
from mpcinfer.suites.fss import gates
from mpcinfer.suites.fss.formats import activation_formats
from mpcinfer.suites.registry import SUITES, get_plan
from protocols.additive.costs import PrimitiveCosts
from protocols.fss.executors.gate import Gate
from protocols.fss.preprocessing.correlations import Dpf

ENTRIES = {(e.suite, e.operation, e.name): e for e in listing.protocols()}


def gate_classes(base: type) -> set[type]:
    """All gates of the suite that are no base of others."""
    for module in pkgutil.iter_modules(protocols.fss.gates.__path__):
        importlib.import_module(f"protocols.fss.gates.{module.name}")
    found: set[type] = set()
    for each in base.__subclasses__():
        found |= gate_classes(each) if inspect.isabstract(each) else {each} | gate_classes(each)
    return {each for each in found if each.__module__.startswith("protocols.")}


def test_it_has_all_that_is_registered_and_nothing_else() -> None:
    registered = {
        (suite_name, operation, name)
        for suite_name, suite in SUITES.items()
        for operation, table in suite.operations.items()
        for name in table
    }
    assert set(ENTRIES) == registered
    assert set(fss.SAMPLES) == set(SUITES["fss"].operations)
    additive = SUITES["crypten"].operations.keys() | SUITES["two-party"].operations.keys()
    assert set(arithmetic.SAMPLES) == additive


def test_every_gate_has_a_sample() -> None:
    assert set(gates.SAMPLED) == gate_classes(Gate)
    assert [entry.name for entry in listing.gates()] == [each.__name__ for each in gates.SAMPLED]


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=["-".join(key) for key in ENTRIES])
def test_documentation_and_error_are_there(entry: Entry) -> None:
    assert entry.summary
    assert entry.security.startswith("semi-honest")
    primitive = entry.suite != "fss" and entry.operation in ("linear", "products", "truncation", "comparison")
    assert bool(entry.source) == (entry.error is not None) == (not primitive)


def test_what_costs_nothing_has_no_rounds_and_what_is_sent_takes_one() -> None:
    for entry in [*ENTRIES.values(), *listing.gates()]:
        sent = entry.cost.online_bits_to_server + entry.cost.online_bits_to_client
        assert (entry.cost.rounds > 0) == (sent > 0), entry.name


def test_samples_of_primitives_cost_what_the_table_of_primitives_says() -> None:
    shape = (1, listing.SAMPLE_TOKENS, 768)
    words = PrimitiveCosts.less_than_zero(shape)
    counted = ENTRIES["crypten", "comparison", "words"].cost
    assert counted.rounds == len(words.exchanges)
    elements = listing.SAMPLE_TOKENS * 768
    assert counted.online_bits_to_client == 8 * sum(words.exchanges) / elements
    assert counted.offline_bits_to_server == 8 * words.offline_bytes / elements


def test_a_look_up_costs_what_its_documentation_says() -> None:
    """1 round; bits of the largest c, 2 more and the sign; 16 (k - 6) bytes; 5 ring_bits, 3 of the table,
    less what wraps save: twice x's bits, once those of c."""
    config = folded_config(load_config(listing.SAMPLE_MODEL))
    formats = fss.formats_of(config, listing.SAMPLE_TOKENS, get_plan("fss").replace(gelu="lookup"))
    around = formats.activation("gelu", exact_truncation=False)
    declared = ENTRIES["fss", "gelu", "lookup"].cost
    x = torch.linspace(0.0, 4.0, 4001, dtype=torch.float64)
    largest = round(float((x - torch.nn.functional.gelu(x)).max()) * 2**around.table_frac)
    opened = largest.bit_length() + 2 + 1
    sent = (declared.online_bits_to_server, declared.online_bits_to_client)
    assert (declared.rounds, *sent) == (1, opened, opened)
    key = 8 * Dpf((1,), around.index_bits).sent_bytes[0]
    assert declared.offline_bits_to_client == key
    values = 5 * around.ring_bits + 3 * (around.ring_bits - around.frac_bits + around.table_frac)
    values -= 2 * formats.widths.ffn(0).preactivation_bits + opened - 1
    assert declared.offline_bits_to_server == key + values


@pytest.mark.parametrize(
    ("label", "operations"),
    [
        ("norm1", ["inverse_sqrt=octaves"]),
        ("attn.mix", ["reciprocal=octaves"]),
        ("ffn.gelu_tanh", ["gelu=lines"]),
    ],
)
def test_samples_cost_what_a_model_pays_for_them(label: str, operations: list[str]) -> None:
    """Keys for the client: under these labels nothing else has any."""
    tokens, config = listing.SAMPLE_TOKENS, load_config(listing.SAMPLE_MODEL)
    elements = {
        "element": tokens * config.hidden,
        "score": config.heads * tokens * (tokens + 1) // 2,
        "row": tokens * (config.heads if label == "attn.mix" else 1),
    }
    entries = [ENTRIES["fss", *operation.split("=")] for operation in operations]
    keys = sum(e.cost.offline_bits_to_client * elements[e.cost.element] / 8 for e in entries)
    bill = cost(listing.SAMPLE_MODEL, tokens=tokens, plan="fss", part="stack")
    [paid] = [row for row in bill.rows if row.label == f"layer0.{label}"]
    assert paid.offline_bytes_to_client == keys > 0


@pytest.mark.parametrize(
    ("operation", "lines", "looked_up"), [("gelu", "lines", "lookup"), ("silu", "fine-lines", "fine")]
)
def test_lines_state_no_more_error_than_look_ups(operation: str, lines: str, looked_up: str) -> None:
    """With the formats of the plans: GELU with an activation's fraction bits, to which its lines are cut, and
    SiLU with those of a gate."""
    config = folded_config(load_config(listing.SAMPLE_MODEL))
    stated: list[float] = []
    for name in (lines, looked_up):
        formats = fss.formats_of(config, listing.SAMPLE_TOKENS, get_plan("fss").replace(**{operation: name}))
        p, protocol = formats.widths.precision, formats.suite.activations[operation]
        frac_bits = p.activation if operation == "gelu" else p.gate
        around = activation_formats(protocol, formats.widths.ffn(0), p, frac_bits, exact_truncation=False)
        stated.append(protocol.max_abs_error(operation, around))
    cut = 2.0**-formats.widths.precision.activation if operation == "gelu" else 0.0
    assert stated[0] + cut <= stated[1]


def test_choices_change_what_is_counted() -> None:
    assert ENTRIES["fss", "maximum", "tree"].cost.rounds == 2 * 7 - 1  # rows of up to 128, masked
    assert ENTRIES["fss", "maximum", "histogram"].cost.rounds == 1
    assert ENTRIES["fss", "truncation", "free"].cost.offline_bits_to_server == 0
    assert ENTRIES["fss", "truncation", "faithful"].cost.rounds == 2
    usual, fine = (ENTRIES["fss", "gelu", name] for name in ("lookup", "fine"))
    assert fine.cost.offline_bits_to_client == usual.cost.offline_bits_to_client + 2 * 128
    assert fine.error is not None
    assert usual.error is not None
    assert fine.error.value < usual.error.value / 2


def test_samples_follow_the_model_and_the_tokens() -> None:
    few = {(e.operation, e.name): e for e in listing.protocols("fss", "gpt2", 16)}
    assert few["maximum", "tree"].cost.rounds == 2 * 4 - 1
    assert {e.suite for e in listing.protocols("crypten")} == {"crypten"}


def test_entries_as_plain_values() -> None:
    row = ENTRIES["fss", "reciprocal", "octaves"].to_json()
    assert row["error"]["of"] == "relative"
    assert row["rounds"] == 0
    assert row["element"] == "row"
    assert ENTRIES["crypten", "linear", "session"].to_json()["error"] is None


class Documented:
    """Does one thing; and another.

    Cost: 1 round.
    Source: Beaver (CRYPTO '91), as
        usual. Deviation from it: none.

    Raises:
        Nothing.
    """


class Undocumented(Documented):
    pass


def test_sentences_are_taken_from_documentation() -> None:
    assert summary_of(Documented) == "Does one thing"
    assert source_of(Documented) == "Beaver (CRYPTO '91), as usual"
    assert summary_of(Undocumented, Documented) == "Does one thing"
    assert source_of(Undocumented) == ""
    assert summary_of("A text. More.") == "A text"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (StatedError(0.0), "exact"),
        (StatedError(0.00891), "0.0089"),
        (StatedError(0.0079, ErrorKind.RELATIVE), "0.0079 rel"),
        (StatedError(1.0, ErrorKind.UNITS), "1 unit"),
    ],
)
def test_errors_are_written_short(error: StatedError, text: str) -> None:
    assert str(error) == text
