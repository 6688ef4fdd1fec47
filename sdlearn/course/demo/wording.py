"""What the demo calls its situations."""

from __future__ import annotations

from sdlearn.evaluate.situations import Situation


def short_label(asked: Situation) -> str:
    """A situation in a few words for a column of the sheet: "sunglasses, on green"."""
    names = {"glasses": {"round": "round glasses"}, "top": {"ears": "round ears"}}
    words = [names.get(k, {}).get(v, v) for k, v in asked.items() if k != "background"]
    return ", ".join([*words, f"on {asked['background']}"])
