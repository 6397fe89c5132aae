"""The context of a record as what may be cut away of its prompt, all but the evidence."""

from collections.abc import Mapping, Sequence
from typing import Any

from finetune.conversation import Context, NotThisForm
from longreach.placing import BrokenRecord, place_of


def context_of(messages: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> Context | None:
    """The record's context in the prompt; None where it is not found, or in more than one place."""
    try:
        place = place_of(messages, record)
    except BrokenRecord as error:
        raise NotThisForm("broken record", str(error)) from error
    return Context(place.message, place.start, place.end, place.sought) if place else None
