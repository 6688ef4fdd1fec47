"""`sdlearn demo`: learn a character that the model has never seen, and look what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from sdlearn.commands.character import parse_attributes
from sdlearn.course.demo.config import DemoConfig
from sdlearn.models.writing import one_writer, prepare_folder


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Learn a character by Textual Inversion and DreamBooth, and compare what each draws.

    The output folder holds a contact sheet, a page, a table, and what was learnt. A demo that was
    stopped goes on where it was.
    """

    attributes: tuple[str, ...] = ()  # of the character, such as: glasses=round hair_color=pink
    demo: DemoConfig = field(default_factory=DemoConfig)

    def run(self) -> None:
        """Run the demo; print the table and where the rest is."""
        config = replace(self.demo, attributes=parse_attributes(self.attributes))
        if config.pictures is None:
            from sdlearn.data.characters import draw_character

            draw_character(config.style, config.seed, 0, 1, **config.attributes)  # checks them
        from sdlearn.course.demo import run_demo

        started = time.monotonic()
        with one_writer(prepare_folder(config.output)):
            result = run_demo(config)
        minutes, seconds = divmod(round(time.monotonic() - started), 60)
        print(result.table)
        print(f"{minutes} min {seconds} s")
        for path in (result.sheet, result.page):
            print(path)
