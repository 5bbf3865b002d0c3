"""Names of a classifier's classes, from a file or a peer."""

from __future__ import annotations

from typing import cast

from parties.errors import ConfigError

MOST_LABELS = 4096
MOST_LETTERS = 256


def labels_from(value: object, classes: int, source: str) -> tuple[str, ...]:
    """Checked names of classes.

    Args:
        value: a list of them, empty where they have none.
        classes: how many the head has.
        source: where they come from, for the error.

    Raises:
        ConfigError: no list, other entries than texts, too many or too long ones, or not one a class.
    """
    if not isinstance(value, list):
        raise ConfigError(f"{source}: labels must be a list of texts")
    names = cast("list[object]", value)
    if len(names) > MOST_LABELS:
        raise ConfigError(f"{source}: {len(names)} labels, at most {MOST_LABELS} are read")
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{source}: labels must be a list of texts, got {names!r:.80}")
    labels = tuple(cast("list[str]", names))
    if any(len(name) > MOST_LETTERS for name in labels):
        raise ConfigError(f"{source}: a label of more than {MOST_LETTERS} letters")
    if labels and len(labels) != classes:
        raise ConfigError(f"{source}: {len(labels)} labels for {classes} classes")
    return labels
