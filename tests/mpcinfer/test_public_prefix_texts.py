"""Public prefixes as texts: where they meet prompts, what both parties must agree on, and what is refused."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import pytest
import tokenizers
from tokenizers.processors import TemplateProcessing

from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from mpcinfer.models.prefix_run import OnePrefixRun, run_prefix
from mpcinfer.models.public import PublicModel
from mpcinfer.models.ranges import calibrate
from mpcinfer.public_prefix import PrefixText
from mpcinfer.roles.server import prefix_source
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session import PrivateSession
from mpcinfer.sessions.session_config import SessionConfig, greet
from mpcinfer.suites.fss.dealing import ModelDealer, Writers
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import PLANS, suite_of
from parties.errors import ConfigError, HandshakeFailed, PeerMismatch, RangeError
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import SystemRandom
from parties.threads import run_two_threads
from protocols.fss.preprocessing.seeds import DealerSeeds
from protocols.fss.preprocessing.source import RunShape
from tests.mpcinfer.test_chat import TEMPLATE
from tests.mpcinfer.test_encoders import EMBEDDING
from tests.mpcinfer.three_parties import byte_tokenizer, random_model

GPT2 = ModelConfig(
    layers=1, width=24, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=258, context=32
)
BOS, SEP = 256, 257
MERGING = "import os\n"
"""Its last token is another where a second line break follows."""


@cache
def model() -> Model:
    """Of bytes, with a token that begins every text and one that ends it."""
    plain = random_model(dataclasses.replace(GPT2, vocabulary=256))
    backend = tokenizers.Tokenizer.from_str(byte_tokenizer().backend.to_str())
    backend.add_special_tokens(["<s>", "</s>"])
    backend.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", SEP)]
    )
    tokenizer = dataclasses.replace(plain.tokenizer, backend=backend, chat_template=TEMPLATE)
    made = dataclasses.replace(random_model(GPT2), tokenizer=tokenizer, ranges={})
    return dataclasses.replace(made, ranges=calibrate(made, ["def f(x):", "return x + 1"]))


@cache
def public() -> PublicModel:
    return PublicModel.of(model())


@cache
def code() -> PublicModel:
    """Of a tokenizer that merges."""
    return PublicModel.of(load_model("tiny-python"))


def test_tokens_of_both_are_those_of_the_whole_text() -> None:
    public_prefix = PrefixText("ab").of(public())
    assert public_prefix.ids == (BOS, *public().tokenizer.backend.encode("ab", add_special_tokens=False).ids)
    assert public_prefix.before(public(), "cd") == public().tokenizer.encode("abcd")
    after = public_prefix.after(public(), "cd")
    assert BOS not in after
    assert after[-1] == SEP


def test_a_join_within_a_token_is_refused() -> None:
    public_prefix = PrefixText(MERGING).of(code())
    assert public_prefix.after(code(), "x = 1")
    with pytest.raises(ConfigError, match="are one token of this tokenizer"):
        public_prefix.after(code(), "\n\nx = 1")


def test_a_system_message_is_what_conversations_begin_with() -> None:
    chat, public_prefix = public().tokenizer.chat, PrefixText("be short", system=True).of(public())
    assert public_prefix.text == "# system\nbe short\n"
    said = [{"role": "system", "content": "be short"}, {"role": "user", "content": "?"}]
    assert public_prefix.before(public(), chat(said)) == public().tokenizer.encode(chat(said))
    for other in (said[1:], [{"role": "system", "content": "be long"}, said[1]]):
        with pytest.raises(ConfigError, match="does not begin with the public prefix"):
            public_prefix.before(public(), chat(other))


def test_a_conversation_does_not_follow_a_plain_text() -> None:
    public_prefix = PrefixText("# system\nbe short\n").of(public())
    said = public().tokenizer.chat(
        [{"role": "system", "content": "be short"}, {"role": "user", "content": "?"}]
    )
    with pytest.raises(ConfigError, match="does not begin with the public prefix"):
        public_prefix.before(public(), said)


@pytest.mark.parametrize("text", ["{% for m in messages[-1:] %}{{ m['content'] }}{% endfor %}", "always"])
def test_a_template_that_cannot_be_cut_is_refused(text: str) -> None:
    tokenizer = dataclasses.replace(public().tokenizer, chat_template=text)
    with pytest.raises(ConfigError, match="does not begin conversations with"):
        PrefixText("be short", system=True).of(dataclasses.replace(public(), tokenizer=tokenizer))


def test_nothing_is_no_prefix_and_no_prompt() -> None:
    with pytest.raises(ConfigError, match="empty"):
        PrefixText("")
    with pytest.raises(ConfigError, match="the prompt after the public prefix has no tokens"):
        PrefixText("ab").of(public()).before(public(), "")


def test_a_prefix_leaves_room_in_the_context() -> None:
    assert len(PrefixText("a" * 30).of(public())) == 31
    with pytest.raises(ConfigError, match="prefix of 32 tokens leaves no room in the model's context of 32"):
        PrefixText("a" * 31).of(public())
    with pytest.raises(ConfigError, match="prefix of 8 tokens leaves no room in a maximum context of 8"):
        Program.of(PLANS["fss"], GPT2, model().ranges, 8, public_prefix=8)
    with pytest.raises(ConfigError, match="a public prefix of 24 tokens, 8 tokens of a prompt and 2"):
        count(GPT2, PLANS["fss"], tokens=8, new_tokens=2, public_prefix_tokens=24)


def test_models_that_read_whole_texts_have_none() -> None:
    with pytest.raises(ConfigError, match="reads whole texts"):
        PrefixText("ab").of(dataclasses.replace(public(), config=EMBEDDING))


def test_what_cannot_follow_a_prefix_is_refused_by_name(tmp_path: Path) -> None:
    def counted(plan: str, config: ModelConfig = GPT2, batch: Batch | None = None) -> None:
        batch = batch or Batch()
        count(config, PLANS[plan], tokens=4, public_prefix_tokens=4, batch=batch)

    with pytest.raises(ConfigError, match="plan two-party runs whole texts privately"):
        counted("two-party")
    with pytest.raises(ConfigError, match="padded at their start"):
        counted("fss", batch=Batch(2, padded=True))
    with pytest.raises(ConfigError, match="attention=gaussian"):
        counted("fss", dataclasses.replace(GPT2, attention="gaussian"))
    session = SessionConfig(
        plan=PLANS["fss"], public=public(), public_prefix=PrefixText("ab").of(public()), correlations=tmp_path
    )
    with pytest.raises(ConfigError, match="correlations from a folder"):
        suite_of(session.plan).ready(session)


def test_a_prefix_out_of_range_is_named_before_anything_is_sent() -> None:
    ids, ranges = PrefixText("ab").of(public()).ids, dict(model().ranges)
    run_prefix(GPT2, model().weights, ids, ranges)
    ranges["layer0.attn.qkv/linear"] = 1e-3
    ranges["layer0.attn.qkv/bound"] = 1e-3
    with pytest.raises(RangeError, match=r"public prefix: values of layer0.attn reach .* allows for"):
        run_prefix(GPT2, model().weights, ids, ranges)


def test_both_parties_must_have_the_same_prefix() -> None:
    def meets(mine: str | None, theirs: str | None) -> None:
        def party(link: Link) -> None:
            text = mine if link.rank == SERVER else theirs
            public_prefix = None if text is None else PrefixText(text).of(public())
            session = SessionConfig(plan=PLANS["fss"], public=public(), public_prefix=public_prefix)
            greet(link, session.plan.digest(), session.agreed_model)

        run_two_threads(party, party)

    meets("ab", "ab")
    for mine, theirs in (("ab", "ac"), ("ab", "a"), ("ab", None), (None, "ab")):
        with pytest.raises(HandshakeFailed, match=r"model: expected .*public prefix of . tokens"):
            meets(mine, theirs)


def test_a_prefix_is_run_once_for_all_sessions() -> None:
    public_prefix, runs = PrefixText("ab").of(public()), list[int]()
    make = prefix_source(public(), model().weights, public_prefix)

    def counting() -> object:
        runs.append(1)
        return make()

    source = OnePrefixRun(counting)  # type: ignore[arg-type]
    assert source() is source()
    assert source().tokens == len(public_prefix)
    assert len(runs) == 1


class _Holding(PrivateSession):
    """A session that holds two public tokens and runs nothing."""

    first = length = 2
    context, notes = 8, ()  # type: ignore[assignment]

    def rewind(self, length: int) -> None:
        raise AssertionError(f"rewound to {length}")

    def advance(self, ids: object, count: int, rows: int = 1) -> None:
        raise AssertionError("ran")


def test_no_step_begins_within_a_prefix() -> None:
    ends = local_pair()
    with Link(ends[CLIENT], Meter(), CLIENT) as link, Link(ends[SERVER], Meter(), SERVER) as server:
        steps = StepClient(link, _Holding())
        assert steps.length == 2
        with link.meter.phase(Phase.CONTROL), link.meter.span("session", "control"):
            link.send_document({"start": 1, "tokens": 1, "rows": 1}, "session.step")
        with pytest.raises(PeerMismatch, match="a step from token 1 on, after 2"):
            serve_steps(server, _Holding())


def test_nothing_is_dealt_within_a_prefix() -> None:
    program = Program.of(PLANS["fss"], GPT2, model().ranges, 16, public_prefix=4)
    assert Program.from_document(program.to_document()).public_prefix == 4
    dealer = ModelDealer(program, DealerSeeds.fresh(SystemRandom()))
    nowhere = Writers(*[lambda data: None] * 3)  # type: ignore[list-item]
    with pytest.raises(PeerMismatch, match="a run from token 3 on"):
        dealer.deal(0, RunShape(3, 1), nowhere)
    assert dealer.deal(0, RunShape(4, 1), nowhere).server > 0


def test_answers_in_the_clear_are_those_of_the_whole_text() -> None:
    code = load_model("tiny-python")
    text, prompt = "import os\n\n\ndef read(path):\n    with open(path) as file", ":\n        return"
    whole = ClearModel(code, fixed_point=True).complete(text + prompt, max_new_tokens=6)
    for fixed in (False, True):
        after = ClearModel(code, fixed_point=fixed, public_prefix=PrefixText(text))
        for _ in range(2):
            assert after.complete(prompt, max_new_tokens=6).ids == whole.ids
