"""Encoded weights for all sessions of a server, in the fraction bits of every maximum context that is likely.

Most weights have the same fraction bits in all sessions, and are there once. Those around attention have a
few choices; smollm2-135m-instruct takes a quarter more than for one context. A session encodes for itself
what is missing (`connect`), and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from typing import Any, cast

import torch

from mpcinfer.models.load import load_model
from mpcinfer.sessions.session_config import SessionConfig, require_ranges
from mpcinfer.suites.fss.connect import checked_weights, folded_weights
from mpcinfer.suites.fss.encoded_ahead import found_ahead, key_with, usual_program
from mpcinfer.suites.fss.program import Program, widths_of
from mpcinfer.suites.fss.weights import encoded, matrices
from mpcinfer.suites.fss.widths import Widths
from mpcinfer.suites.shareable import Shareable
from parties.errors import ConfigError, RangeError
from protocols.fss.preprocessing.matrix import Matrix, PublicCopy

_AN_OCTAVE = 8
"""Maximum contexts between a number and its double whose fraction bits are asked for. Widths change by powers
of two, each at a point of its own; between neighbours here nothing has been seen to come and go."""


def share_matrices(session_config: SessionConfig) -> Shareable:
    """A server's weights in fixed point; keys and values of its public prefix among them.

    Needs twice the memory of the result, and that of float weights, folded, besides.

    Raises:
        ConfigError: there are no weights, the model was never calibrated, or the plan cannot be run.
        RangeError: a weight is too large, or a token's row.
    """
    if session_config.weights is None:
        raise ConfigError("weights are shared by whoever has them: this configuration is a client's")
    require_ranges(session_config.public)
    program, weights = usual_program(session_config), session_config.weights
    usual = cast(Mapping[str, Matrix] | None, session_config.encoded)
    if usual is None:
        usual = checked_weights(program, session_config.public.name, weights, session_config.prefix_run)
    ahead = _each_once(usual)
    ahead |= _in_other_bits(program, weights, ahead)
    tensors = dict[str, torch.Tensor]()
    return Shareable({"matrices": {key: _noted(key, ahead[key], tensors) for key in ahead}}, tensors)


def with_matrices(session_config: SessionConfig, shared: Shareable) -> SessionConfig:
    """A session's configuration, with what `share_matrices` made. Float weights are loaded by a session that
    wants what is not there, for as long as it encodes that.

    Raises:
        ConfigError: that describes something else.
    """
    try:
        listed = shared.document["matrices"].items()
        ahead = {str(key): _read(noted, shared.tensors) for key, noted in listed}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"shared weights: no description of encoded weights: {error!r}") from None
    name, load = session_config.public.name, session_config.load_weights
    if session_config.weights is None and load is None:
        session_config = dataclasses.replace(session_config, load_weights=lambda: load_model(name).weights)
    return dataclasses.replace(session_config, encoded=ahead)


def _each_once(usual: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """Weights of the usual program; of a second evaluation those whose entries the first has not."""
    result = dict[str, Matrix]()
    for name, matrix in usual.items():
        if found_ahead(result, matrix) is None:
            result[name] = matrix
    return result


def _in_other_bits(
    program: Program, weights: Mapping[str, torch.Tensor], ahead: Mapping[str, Matrix]
) -> dict[str, Matrix]:
    """What sessions of other maximum contexts need besides, by `key_with`; a choice that holds no such model
    is left out, as no session can run it."""
    wanted = dict[str, tuple[Matrix, Widths]]()
    for widths in _likely(program):
        for name, matrix in matrices(program.folded, widths, sharing=program.sharing).items():
            if found_ahead(ahead, matrix) is None:
                wanted.setdefault(key_with(name, matrix.frac_bits), (matrix, widths))
    if not wanted:
        return {}
    config, folded = folded_weights(program, weights)
    result = dict[str, Matrix]()
    for key, (matrix, widths) in wanted.items():
        try:
            of_one = encoded(config, widths, folded, sharing=program.sharing, only=(matrix.name,))
        except RangeError:
            continue
        result[key] = of_one[matrix.name]
    return result


def _likely(program: Program) -> Generator[Widths]:
    """Widths of sessions of other maximum contexts, of one sequence a pass and of several with padding."""
    config = program.config
    octaves = range(_AN_OCTAVE * config.context.bit_length() + 1)
    contexts = {min(round(2.0 ** (step / _AN_OCTAVE)), config.context) for step in octaves}
    for max_context in sorted(each for each in contexts if each > program.public_prefix):
        for padded in (False, True):
            try:
                widths = widths_of(
                    program.plan,
                    program.folded,
                    program.ranges,
                    max_context=max_context,
                    padded=padded,
                    prefixed=program.prefix is not None,
                )
                matrices(program.folded, widths, sharing=program.sharing)
            except (ConfigError, RangeError):
                continue
            yield widths


def _noted(key: str, matrix: Matrix, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What is said of a matrix; its tensors are put under the key."""
    assert matrix.public is None or matrix.public.value is matrix.value, "what is given away is the weight"
    tensors[key] = matrix.value
    if matrix.bias is not None:
        tensors[f"{key}/bias"] = matrix.bias
    return {
        "name": matrix.name,
        "frac_bits": matrix.frac_bits,
        "ring_bits": matrix.ring_bits,
        "masked": matrix.masked,
        "encrypted": matrix.encrypted,
        "value": key,
        "bias": None if matrix.bias is None else f"{key}/bias",
        "public_bits": None if matrix.public is None else matrix.public.ring_bits,
    }


def _read(noted: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Matrix:
    value, bits = tensors[noted["value"]], noted["public_bits"]
    return Matrix(
        name=str(noted["name"]),
        shape=tuple(value.shape),
        frac_bits=int(noted["frac_bits"]),
        ring_bits=int(noted["ring_bits"]),
        value=value,
        bias=None if noted["bias"] is None else tensors[noted["bias"]],
        masked=bool(noted["masked"]),
        encrypted=bool(noted["encrypted"]),
        public=None if bits is None else PublicCopy(value, int(bits)),
    )
