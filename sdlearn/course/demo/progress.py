"""One progress bar for the whole demo: the phase, its step, and the time left."""

from __future__ import annotations

from types import TracebackType

from tqdm.auto import tqdm

# What things cost, in passes of one picture through the U-Net; so that one rate gives the time left
DRAWING_STEP = 2  # with and without the prompt
TRAINING_PICTURE = 3  # forward, and twice as much backward


class Progress:
    """Counts passes of a picture through the U-Net over all phases. A context manager."""

    def __init__(self, total: int) -> None:
        self.bar = tqdm(
            total=total,
            desc="start",
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left",
            dynamic_ncols=True,
            smoothing=0.02,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

    def say(self, phase: str, step: int = 0, steps: int = 0) -> None:
        """Name what is being done, and how far it is: "Textual Inversion, step 12 of 300"."""
        words = f"{phase}, {step} of {steps}" if steps else phase
        self.bar.set_description_str(words, refresh=not step)

    def done(self, passes: float) -> None:
        """Count work that was just done."""
        self.bar.update(passes)

    def found(self, passes: float) -> None:
        """Take work that an earlier run did out of the count, so that the time left stays true."""
        self.bar.total = max(self.bar.total - passes, 0)
        self.bar.refresh()
