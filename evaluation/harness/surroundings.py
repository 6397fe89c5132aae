"""What the harness and its libraries read from their surroundings: whether to download. All is put back at the end.

The libraries read their environment once, when they are imported, which may long have been done: their own settings are
set, too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import datasets.config
import huggingface_hub.constants

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")
_HELD = ((huggingface_hub.constants, "HF_HUB_OFFLINE"), (datasets.config, "HF_HUB_OFFLINE"))


@contextmanager
def surroundings(*, hub: bool) -> Iterator[None]:
    """Nothing is downloaded unless `hub`."""
    if hub:
        yield
        return
    before = {name: os.environ.get(name) for name in OFFLINE}
    held = [getattr(module, name) for module, name in _HELD]
    os.environ.update(dict.fromkeys(OFFLINE, "1"))
    for module, name in _HELD:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(_HELD, held, strict=True):
            setattr(module, name, value)
        for name, set_before in before.items():
            if set_before is None:
                del os.environ[name]
            else:
                os.environ[name] = set_before
