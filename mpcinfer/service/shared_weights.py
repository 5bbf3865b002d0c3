"""A model's weights in memory once, however many sessions a server has.

The front encodes them, as the plan's suite wants (`Suite.share`), and hands the descriptor to every worker
that it starts (`pass_fds`), which maps them. Workers need neither the float weights nor time to encode.
Nobody can write into them, and the kernel frees them with the last process that has them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType

import torch

from mpcinfer.prefix.part import agreement_of
from mpcinfer.service.sealed_memory import SealedMemory
from mpcinfer.service.shared_tensors import SharedTensors, read, write
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.registry import suite_of
from parties.errors import ConfigError

_NAME = "mpcinfer-weights"


class SharedWeights:
    """Weights of one model, for sessions under one plan.

    Attributes:
        fd: descriptor of the memory, for reading only; this object's until `close`.
        nbytes: all of the memory.
        digest: 64 hex digits that say which weights these are, in which form.
    """

    def __init__(self, fd: int, memory: SealedMemory, shared: SharedTensors) -> None:
        self.fd, self.nbytes, self.digest = fd, memory.nbytes, shared.digest
        self._shared, self._open = shared, True

    @classmethod
    def of(cls, session_config: SessionConfig) -> SharedWeights:
        """Those of a server's configuration, in the form of its plan's suite. Whoever holds on to the
        configuration keeps the float weights in memory, too.

        Raises:
            ConfigError: there are no weights, the model was never calibrated, the plan cannot run it, or
                there is not enough memory.
            RangeError: a weight is too large, or a token's row.
        """
        content = suite_of(session_config.plan).share(session_config)
        fd = write(_NAME, _purpose(session_config), content)
        try:
            return cls.open(fd)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def open(cls, fd: int) -> SharedWeights:
        """Those that another process shared: a worker's side. The descriptor is then the result's.

        Raises:
            ConfigError: it is no such memory, or damaged.
        """
        memory = SealedMemory(fd)
        return cls(fd, memory, read(memory))

    @property
    def tensors(self) -> Mapping[str, torch.Tensor]:
        """All that is shared, by the suite's names: views of the memory."""
        return self._shared.content.tensors

    def into(self, session_config: SessionConfig) -> SessionConfig:
        """The configuration of a session with these weights, to be given to `Suite.ready` and `Suite.open`.

        It needs no float weights. Where the suite reads encoded ones, and a session wants some in another
        form than they are shared in, it makes these of the configuration's (`weights`, `load_weights`), or
        loads the model by its name for that.

        Raises:
            ConfigError: they are shared for another plan, model or kind of session.
        """
        wanted = _purpose(session_config)
        if wanted != self._shared.purpose:
            raise ConfigError(f"weights are shared for {self._shared.purpose}, expected {wanted}")
        return suite_of(session_config.plan).with_shared(session_config, self._shared.content)

    def close(self) -> None:
        """Closes the descriptor; configurations that were made keep the mapping. Safe to repeat."""
        if self._open:
            self._open = False
            os.close(self.fd)

    def __enter__(self) -> SharedWeights:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _purpose(session_config: SessionConfig) -> str:
    """What sessions must have in common to read the same weights."""
    plan, model = session_config.plan, session_config.agreed_model
    checked = ", ranges checked" if session_config.check_ranges else ""
    return f"plan {plan.name} ({plan.digest()}), model {model}{checked}{agreement_of(session_config.prefix)}"
