"""Imports CrypTen on a torch it was not written for, and puts the parts it must not use out of reach."""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any, NoReturn

from parties.errors import ConfigError

INSTALL = "pip install --no-deps crypten==0.4.1"
VERSION = "0.4.1"
_ONNX = "crypten.nn.onnx_converter"


_lock = threading.Lock()
_imported: list[Any] = []


def import_crypten() -> Any:
    """The CrypTen module, patched as `protocols.additive.crypten.patches` says; the same on every call.

    Raises:
        ConfigError: CrypTen is not installed (the message holds the one command that installs it), or it is
            another version.
    """
    with _lock:
        if not _imported:
            _imported.append(_import_and_patch())
    return _imported[0]


def _import_and_patch() -> Any:
    crypten = _import()
    version = getattr(crypten, "__version__", "unknown")
    if version != VERSION:
        raise ConfigError(f"CrypTen {VERSION} is needed, {version} is installed: {INSTALL}")
    from protocols.additive.crypten import patches

    patches.apply(crypten)
    return crypten


def _import() -> ModuleType:
    """CrypTen without its ONNX converter, which neither imports nor works on torch 2.13."""
    if _ONNX not in sys.modules and "crypten" not in sys.modules:
        stub: Any = ModuleType(_ONNX)
        stub.from_onnx = stub.from_pytorch = stub.from_tensorflow = _refuse_conversion
        stub.TF_AND_TF2ONNX = False
        sys.modules[_ONNX] = stub
    try:
        return importlib.import_module("crypten")
    except ModuleNotFoundError as error:
        sys.modules.pop(_ONNX, None)
        raise ConfigError(f"CrypTen cannot be imported ({error}). Install it with: {INSTALL}") from error


def _refuse_conversion(*args: object, **kwargs: object) -> NoReturn:
    raise ConfigError("CrypTen's model conversion does not work here: models are written once, in mpcinfer")
