"""Conversations: what the model is given, what is run again, what a turn tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from mpcinfer.chat import Conversation
from mpcinfer.clear import ClearModel
from mpcinfer.generation import Session
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from parties.errors import ConfigError

TEMPLATE = (
    "{% for m in messages %}# {{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}# assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def model() -> Model:
    plain = load_model("tiny-python")
    return dataclasses.replace(plain, tokenizer=dataclasses.replace(plain.tokenizer, chat_template=TEMPLATE))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The tokens of every step that is run."""
    seen: list[list[int]] = []
    step = Session[torch.Tensor, torch.Tensor].step

    def recorded(
        session: Session[torch.Tensor, torch.Tensor], ids: Sequence[int], rows: int = 1
    ) -> torch.Tensor:
        seen.append(list(ids))
        return step(session, ids, rows)

    monkeypatch.setattr(Session, "step", recorded)
    return seen


def prompt(model: Model, *messages: tuple[str, str]) -> list[int]:
    said = [{"role": role, "content": text} for role, text in messages]
    return model.tokenizer.encode(model.tokenizer.chat(said))


def _same(first: list[int], second: list[int]) -> int:
    """How many tokens two texts have in common at their start."""
    return next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first))


def test_a_turn_is_asked_in_the_light_of_those_before(model: Model) -> None:
    conversation = Conversation(ClearModel(model), max_new_tokens=4)
    first = conversation.ask("x = 1")
    second = conversation.ask("y = 2")
    text = model.tokenizer.chat(
        [
            {"role": "user", "content": "x = 1"},
            {"role": "assistant", "content": first.text},
            {"role": "user", "content": "y = 2"},
        ]
    )
    assert second.text == ClearModel(model).complete(text, max_new_tokens=4).text
    assert conversation.turns == 2
    assert first.cost is None


def test_only_what_is_new_is_run(model: Model, steps: list[list[int]]) -> None:
    conversation = Conversation(ClearModel(model), max_new_tokens=3)
    answer = conversation.ask("x = 1").text
    run = [token for step in steps for token in step]
    whole = prompt(model, ("user", "x = 1"), ("assistant", answer), ("user", "y = 2"))
    assert whole[: len(run)] == run  # this template and answer are stable, or this tests nothing
    steps.clear()
    conversation.ask("y = 2")
    assert steps[0] == whole[len(run) :]
    assert all(len(step) == 1 for step in steps[1:])


def test_what_does_not_go_on_is_run_from_where_it_differs(model: Model, steps: list[list[int]]) -> None:
    conversation = Conversation(ClearModel(model), max_new_tokens=2)
    conversation.ask("x = 1")
    conversation.forget()
    steps.clear()
    conversation.ask("y = 2")
    before, after = (prompt(model, ("user", text)) for text in ("x = 1", "y = 2"))
    assert steps[0] == after[_same(before, after) :]
    assert conversation.turns == 1


def test_a_system_message_stays(model: Model, steps: list[list[int]]) -> None:
    conversation = Conversation(ClearModel(model), system="Be brief.", max_new_tokens=1)
    before: list[int] = []
    for question in ("x = 1", "y = 2"):
        conversation.ask(question)
        whole = prompt(model, ("system", "Be brief."), ("user", question))
        assert steps[-1] == whole[_same(before, whole) :]
        before = whole
        conversation.forget()


def test_an_answer_can_be_stopped_and_is_kept_so_far(model: Model, steps: list[list[int]]) -> None:
    conversation = Conversation(ClearModel(model), max_new_tokens=8)
    shown: list[str] = []
    turn = conversation.ask("x = 1", on_text=shown.append, stop=lambda: len(shown) == 2)
    assert (turn.reason, turn.new_tokens, turn.text) == ("stopped", 2, shown[-1])
    assert len(steps) == 2
    conversation.ask("y = 2", stop=lambda: True)
    run = [token for step in steps for token in step]
    assert run == prompt(model, ("user", "x = 1"), ("assistant", turn.text), ("user", "y = 2"))


def test_turns_tell_how_long_they_took(model: Model) -> None:
    turn = Conversation(ClearModel(model), max_new_tokens=3).ask("x = 1")
    assert turn.new_tokens == 3
    assert turn.reason == "length"
    assert turn.first_s > 0
    assert turn.later_s > 0


def test_a_question_without_room_leaves_the_conversation_as_it_was(model: Model) -> None:
    conversation = Conversation(ClearModel(model), max_new_tokens=2)
    expected = conversation.ask("x = 1").text
    with pytest.raises(ConfigError, match="leaves no room in the model's context"):
        conversation.ask("y = 2\n" * 300)
    assert conversation.turns == 1
    conversation.forget()
    assert conversation.ask("x = 1").text == expected


def test_a_model_without_a_chat_template_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        Conversation(ClearModel(load_model("tiny-python")))
