"""transformers without its talk, and without that of the libraries it loads quantised weights with:
what matters of a load is checked and said by the caller."""

from __future__ import annotations

import logging as standard
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Loggers that speak while weights are loaded.
_OTHERS = ("bitsandbytes", "accelerate")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence logs, progress bars and Python warnings; restore them afterwards.

    Changes settings of the whole process: not for two threads at once.
    """
    from huggingface_hub import utils
    from transformers.utils import logging

    hub: Any = utils
    talk: Any = logging
    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    hub_bars = not hub.are_progress_bars_disabled()
    others = [(log := standard.getLogger(name), log.level) for name in _OTHERS]
    # Around the restoring too: the hub warns where its environment variables forbid a change.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        talk.set_verbosity(talk.CRITICAL)
        talk.disable_progress_bar()
        for log, _ in others:
            log.setLevel(standard.CRITICAL)
        try:
            yield
        finally:
            talk.set_verbosity(level)
            for log, before in others:
                log.setLevel(before)
            if bars:
                talk.enable_progress_bar()
            # transformers' switch turns the hub's along.
            (hub.enable_progress_bars if hub_bars else hub.disable_progress_bars)()
