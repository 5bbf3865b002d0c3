"""Two-party private inference for transformer language models, with an exact bill.

import mpcinfer

with mpcinfer.private("tiny-python") as client:        # server and dealer start as processes
    answer = client.complete("for i in", max_new_tokens=8)
    bill = client.finish()
print(answer.text, bill.total.rounds)

mpcinfer.cost("gpt2", tokens=128).total.online_bytes_to_client
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mpcinfer._siblings import require_siblings
from mpcinfer._threads import WAIT_POLICY as WAIT_POLICY

require_siblings()

if TYPE_CHECKING:
    from mpcinfer.answer import Answer
    from mpcinfer.clear import ClearModel
    from mpcinfer.costs import cost
    from mpcinfer.draft_model import load_draft
    from mpcinfer.models.config import ModelConfig
    from mpcinfer.models.load import load_config, load_model, load_public
    from mpcinfer.models.model import Model
    from mpcinfer.models.public import PublicModel
    from mpcinfer.models.zoo import zoo
    from mpcinfer.reading import Labelled
    from mpcinfer.roles.client import PrivateClient
    from mpcinfer.roles.connect import connect_client
    from mpcinfer.roles.together import private
    from parties.bill import Bill, BillRow
    from parties.errors import MpcInferError

__all__ = [
    "Answer",
    "Bill",
    "BillRow",
    "ClearModel",
    "Labelled",
    "Model",
    "ModelConfig",
    "MpcInferError",
    "PrivateClient",
    "PublicModel",
    "connect_client",
    "cost",
    "load_config",
    "load_draft",
    "load_model",
    "load_public",
    "private",
    "zoo",
]

_WHERE = {
    "Answer": "mpcinfer.answer",
    "Bill": "parties.bill",
    "BillRow": "parties.bill",
    "ClearModel": "mpcinfer.clear",
    "Labelled": "mpcinfer.reading",
    "Model": "mpcinfer.models.model",
    "ModelConfig": "mpcinfer.models.config",
    "MpcInferError": "parties.errors",
    "PrivateClient": "mpcinfer.roles.client",
    "PublicModel": "mpcinfer.models.public",
    "connect_client": "mpcinfer.roles.connect",
    "cost": "mpcinfer.costs",
    "load_config": "mpcinfer.models.load",
    "load_draft": "mpcinfer.draft_model",
    "load_model": "mpcinfer.models.load",
    "load_public": "mpcinfer.models.load",
    "private": "mpcinfer.roles.together",
    "zoo": "mpcinfer.models.zoo",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: a list of models should not wait for torch."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(importlib.import_module(_WHERE[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
