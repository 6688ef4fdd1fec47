"""What transformers says of itself while it opens a model, and nobody needs to read.

Its bar over the weights lasts an instant and hides the bars that matter. Its word that torchvision
is missing is about reading pictures, which no part of this package leaves to transformers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def without_loading_bar() -> Iterator[None]:
    """Show no bar of transformers within the block; afterwards all is as it was."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _is_needed(record: logging.LogRecord) -> bool:
    return "requires torchvision (not installed)" not in record.getMessage()


logging.getLogger("transformers.utils.import_utils").addFilter(_is_needed)
