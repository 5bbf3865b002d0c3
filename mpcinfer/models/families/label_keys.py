"""Classifiers of every family: which of its keys say so, and the names of its classes."""

from __future__ import annotations

from typing import cast

from mpcinfer.models.fields import Fields
from mpcinfer.models.labels import labels_from

_CLASSIFIER = "ForSequenceClassification"


def is_classifier(fields: Fields) -> bool:
    """Whether `architectures` names a model that gives labels to whole texts."""
    names = cast("list[object]", fields.values.get("architectures") or [])
    return any(str(name).endswith(_CLASSIFIER) for name in names)


def labels_of(fields: Fields) -> tuple[str, ...]:
    """The names of a classifier's classes, in order.

    Raises:
        ConfigError: `id2label` does not number them from 0, or there are too many.
    """
    table = fields.table("id2label")
    if not table:
        names = [f"LABEL_{number}" for number in range(fields.integer("num_labels", 2))]
    elif set(table) != {str(number) for number in range(len(table))}:
        raise fields.refuse("id2label", "expected labels numbered from 0")
    else:
        names = [str(table[str(number)]) for number in range(len(table))]
    return labels_from(names, len(names), f"{fields.source}: id2label")
