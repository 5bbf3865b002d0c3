"""A small task for prefix adapters: which package of Python's library some tokens of code are from.

A text is `LENGTH` tokens of a package's source, then the package's letter. The model stays as it is but for
what a method trains, about 49,000 numbers each:

* base, and a long prompt of one example a package: nothing;
* prefix tuning: keys and values of 32 tokens a layer and head;
* adapters: Z and z, of both maps;
* LoRA of rank 16 in every layer's queries, keys and values, merged into the weights.
"""

from __future__ import annotations

import dataclasses
import random
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console

from bench.records import Record
from mpcinfer import Model, load_model
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.static import static
from mpcinfer.prefix.teacher import TeacherBackend
from mpcinfer.prefix.train import Recipe, train_prefix, window_loss

MODEL, PACKAGES, LETTERS = "tiny-python", ("asyncio", "email", "idlelib", "unittest"), "abdu"
LENGTH, TRAINED, TESTED, STEPS, BATCH, RATE = 48, 400, 50, 300, 16, 1e-2
"""Tokens of code; texts of each package, to train on and to test on."""
KEYS, RANK = 32, 16
METHODS = ("base", "long prompt", "prefix tuning", "adapter, square", "adapter, elu", "LoRA, merged")
Windows = list[list[int]]
Scores = Callable[[torch.Tensor], torch.Tensor]
"""Token ids [B, T] -> logits [B, T, V]."""


def texts(model: Model) -> tuple[Windows, Windows, list[int]]:
    """To train on and to test on, from files that are one or the other; and the letters' tokens."""
    letters = [model.tokenizer.encode(letter)[0] for letter in LETTERS]
    trained, tested = Windows(), Windows()
    for package, letter in zip(PACKAGES, letters, strict=True):
        files = sorted((Path(sysconfig.get_paths()["stdlib"]) / package).rglob("*.py"))
        files = [path for path in files if "test" not in path.parts]
        for into, own, count in ((trained, files[::2], TRAINED), (tested, files[1::2], TESTED)):
            ids = [token for path in own for token in model.tokenizer.encode(path.read_text("utf-8"))]
            pieces = [ids[at : at + LENGTH] for at in range(0, len(ids) - LENGTH, LENGTH)]
            random.Random(package).shuffle(pieces)
            into += [[*piece, letter] for piece in pieces[:count]]
    return trained, tested, letters


def accuracy(scores: Scores, windows: Windows, letters: Sequence[int], before: Sequence[int] = ()) -> float:
    """How often the likeliest letter is right."""
    right = 0
    for start in range(0, len(windows), BATCH):
        batch = torch.tensor([[*before, *window] for window in windows[start : start + BATCH]])
        with torch.no_grad():
            logits = scores(batch[:, :-1])[:, -1, list(letters)]
        right += int((torch.tensor(letters)[logits.argmax(-1)] == batch[:, -1]).sum())
    return right / len(windows)


def plain(model: Model) -> Scores:
    """Of the model."""
    decoder = Decoder(PlainBackend(), *static(model.config, model.weights))
    return lambda ids: decoder.forward(ids, ids.shape[1])


def adapted(model: Model, windows: Windows, features: str, steps: int) -> tuple[Scores, int]:
    """With a trained adapter."""
    recipe = Recipe(steps=steps, batch=BATCH, rate=RATE)
    which = "elu" if features == "elu" else "square"
    adapter = train_prefix(model, windows, which, recipe, counted=[LENGTH - 1]).adapter
    config, weights = static(model.config, model.weights)
    decoder = Decoder(PlainBackend(), config, weights, adapter.states(torch.float32))
    return lambda ids: decoder.forward(ids, ids.shape[1]), sum(each.numel() for each in adapter.sums)


def prefix_tuned(model: Model, windows: Windows, steps: int) -> tuple[Scores, int]:
    """With trained keys and values before the text's own."""
    config, weights = static(model.config, model.weights)
    generator, shape = torch.Generator().manual_seed(0), (1, config.heads, KEYS, config.head_width)
    trained = [
        tuple((torch.randn(shape, generator=generator) * 0.1).requires_grad_() for _ in "kv")
        for _ in range(config.layers)
    ]

    def decoder(size: int) -> Decoder[torch.Tensor, torch.Tensor]:
        pairs = [(k.expand(size, -1, -1, -1), v.expand(size, -1, -1, -1)) for k, v in trained]
        return Decoder(TeacherBackend(pairs), config, weights)

    parameters = [each for pair in trained for each in pair]
    _descend(parameters, windows, steps, lambda batch: window_loss(decoder(len(batch)), batch, [LENGTH - 1]))
    return lambda ids: decoder(len(ids)).forward(ids, ids.shape[1]), sum(each.numel() for each in parameters)


def low_rank(model: Model, windows: Windows, steps: int) -> tuple[Scores, int]:
    """With A B added to the weights of queries, keys and values; a new model, and no other computing."""
    config, generator = model.config, torch.Generator().manual_seed(0)
    names = [f"layer{layer}.attn.qkv.weight" for layer in range(config.layers)]
    pairs = {
        name: (
            (torch.randn(model.weights[name].shape[0], RANK, generator=generator) * 0.05).requires_grad_(),
            torch.zeros(RANK, model.weights[name].shape[1]).requires_grad_(),
        )
        for name in names
    }

    def merged() -> Model:
        own = {name: model.weights[name] + a @ b for name, (a, b) in pairs.items()}
        return dataclasses.replace(model, weights={**model.weights, **own})

    def loss(batch: torch.Tensor) -> torch.Tensor:
        own = merged()
        return window_loss(Decoder(PlainBackend(), *static(own.config, own.weights)), batch, [LENGTH - 1])

    parameters = [each for pair in pairs.values() for each in pair]
    _descend(parameters, windows, steps, loss, rate=RATE / 5)
    return plain(merged()), sum(each.numel() for each in parameters)


def _descend(
    parameters: Sequence[torch.Tensor],
    windows: Windows,
    steps: int,
    loss: Callable[[torch.Tensor], torch.Tensor],
    rate: float = RATE,
) -> None:
    """Adam with the batches of `train_prefix`."""
    adam = torch.optim.Adam(parameters, lr=rate)
    fading = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    data, generator = torch.tensor(windows), torch.Generator().manual_seed(0)
    for _ in range(steps):
        adam.zero_grad()
        loss(data[torch.randint(len(data), (BATCH,), generator=generator)]).backward()  # type: ignore[no-untyped-call]
        adam.step()  # pyright: ignore[reportUnknownMemberType]
        fading.step()


def measure(path: Path, steps: int, only: Sequence[str] | None) -> None:
    """Trains and tests every method, and records it."""
    model = load_model(MODEL)
    trained, tested, letters = texts(model)
    examples = [token for number in range(len(LETTERS)) for token in trained[number * TRAINED]]
    makers: dict[str, Callable[[], tuple[Scores, int]]] = {
        "base": lambda: (plain(model), 0),
        "long prompt": lambda: (plain(model), 0),
        "prefix tuning": lambda: prefix_tuned(model, trained, steps),
        "adapter, square": lambda: adapted(model, trained, "square", steps),
        "adapter, elu": lambda: adapted(model, trained, "elu", steps),
        "LoRA, merged": lambda: low_rank(model, trained, steps),
    }
    for name in only or METHODS:
        scores, parameters = makers[name]()
        found = accuracy(scores, tested, letters, examples if name == "long prompt" else ())
        Record(
            case="task",
            plan="",
            model=MODEL,
            tokens=LENGTH,
            measured=True,
            bill={},
            extra={"method": name, "parameters": parameters, "accuracy": found, "steps": steps},
        ).append(path)
        Console().print(f"{name}: {100 * found:.0f}% of {len(tested)} with {parameters:,} numbers")
