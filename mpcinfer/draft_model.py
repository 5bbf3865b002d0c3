"""A small model that the client holds, as a source of drafts."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Remembered, Session
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.static import static
from mpcinfer.sampling import greedy
from mpcinfer.speculation import Draft, look_up
from parties.errors import ConfigError


class DraftModel:
    """Drafts what the text has said before, and otherwise what a small model says in float, greedily.

    Args:
        model: its tokens must be those of the model that will be asked (`require_same_tokens`).
    """

    def __init__(self, model: Model) -> None:
        session = Session(Decoder(PlainBackend(), *static(model.config, model.weights)))
        self._predict, self._context = Remembered(session.step, session.rewind), model.config.context

    def __call__(self, text: Sequence[int], count: int) -> list[int]:
        """See `Draft`. Beyond the model's own context there are drafts from the text alone."""
        drafted = look_up(text, count)
        if drafted:
            return drafted
        while len(drafted) < count and len(text) + len(drafted) <= self._context:
            drafted.append(greedy(self._predict([*text, *drafted], 1)[0]))
        return drafted


def require_same_tokens(model: Model, public: PublicModel) -> None:
    """Whether the ids of a draft model mean what they mean to the model that will be asked.

    Raises:
        ConfigError: they do not.
    """
    own, asked = (each.tokenizer.backend.get_vocab(with_added_tokens=True) for each in (model, public))
    if own != asked:
        shared = sum(asked.get(token) == number for token, number in own.items())
        raise ConfigError(
            f"{model.name} cannot draft for {public.name}: a draft model must share the tokenizer; of its "
            f"{len(own):,} tokens only {shared:,} have the same id among its {len(asked):,}"
        )


def load_draft(name_or_path: str, public: PublicModel) -> Draft:
    """A draft model by name or folder, for a model that will be asked.

    Raises:
        ConfigError: no such model, one without weights, or one with another tokenizer.
    """
    model = load_model(name_or_path)
    require_same_tokens(model, public)
    return DraftModel(model)
