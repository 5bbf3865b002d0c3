"""What a dealer wrote, for a harness to hand to the parties."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.fss.executors.dealing import Writer
from protocols.fss.preprocessing.file_stream import Reader


@dataclass(eq=False)
class Correlations:
    """What the dealer wrote: for the server, for the client, and for the server's linear layers."""

    files: tuple[io.BytesIO, io.BytesIO, io.BytesIO] = field(
        default_factory=lambda: (io.BytesIO(), io.BytesIO(), io.BytesIO())
    )

    def writer(self, index: int) -> Writer:
        def write(data: NDArray[np.uint8]) -> None:
            assert data.dtype == np.uint8
            self.files[index].write(data.tobytes())

        return write

    def reader(self, index: int) -> Reader:
        content = self.files[index].getvalue()
        return Reader(io.BytesIO(content), len(content))

    @property
    def sizes(self) -> tuple[int, int, int]:
        server, client, linear = (len(file.getvalue()) for file in self.files)
        return server, client, linear
