"""Build the page of the claims from the results that ship: `python book/claims_page.py`.

It reads data/results/claims/NAME.json and book/why.md, and writes book/claims.md and the figures.
With `--from FOLDER` the results of `python -m experiments all --size full --output FOLDER` are
taken over into data/results/claims first.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import PLACES, find
from experiments.claim import answer, shipped_results
from experiments.comparison import table
from experiments.figures import save

BOOK = Path(__file__).resolve().parent
RESULTS = BOOK.parent / "data/results/claims"
PAGE, WHY, IMAGES = BOOK / "claims.md", BOOK / "why.md", BOOK / "images/claims"
NOT_CLAIMS = ("comparison", "failures")  # they have no yes or no
INTRO = """<!-- Built by `python book/claims_page.py` from data/results/claims and book/why.md. -->

# The claims, measured on mini

Courses repeat that DreamBooth is more faithful than Textual Inversion, that prior preservation
stops language drift, that Imagic works between 0.6 and 0.8. Here each sentence is an experiment
that runs on a laptop. Differences have a {level} interval over subjects and seeds. "Open" means
that the interval leaves it open.

    python -m experiments                       # what there is, and what was found
    python -m experiments drift                 # measure one again at a small size, in minutes
    python -m experiments drift --size full     # as it was measured here

mini is small and its judges are its own, so a figure here and a figure in a paper have different
units: what can be compared is the direction, and whether it shows at all. {judges}

| claim | on mini |
| --- | --- |
{overview}
"""


def read() -> dict[str, dict[str, Any]]:
    """The results that ship, by claim, in the order of the page."""
    return {name: kept for name, kept in shipped_results() if kept is not None}


def page(results: Mapping[str, dict[str, Any]], why: Mapping[str, str]) -> str:
    """The page in Markdown."""
    overview = "\n".join(
        f"| [{kept['statement']}](#{name}) | {answer(kept['agrees'])} |"
        for name, kept in results.items()
        if name not in NOT_CLAIMS
    )
    judges = _said_of_judges(next(iter(results.values()))["judges"])
    head = INTRO.format(level="95 %", judges=judges, overview=overview)
    sections = [_section(kept, why.get(name, "")) for name, kept in results.items()]
    return "\n".join([head, *sections, *_missing(results)])


def _missing(results: Mapping[str, Any]) -> list[str]:
    """What has not been run at full size yet, said plainly."""
    names = [name for name in PLACES if name not in results]
    lines = [
        f"- {find(name).statement} `python -m experiments {name} --size full`" for name in names
    ]
    return ["## Not yet measured at full size\n", *lines, ""] if names else []


def _section(kept: Mapping[str, Any], why: str) -> str:
    name = kept["claim"]
    verdict = "" if name in NOT_CLAIMS else f" On mini it **{_verb(kept['agrees'])}**."
    parts = [
        f'<a id="{name}"></a>\n\n## {kept["number"]}. {kept["statement"]}\n',
        f"![{kept['statement']}](images/claims/{name}.png)\n",
        f"**mini.** {kept['says']}{verdict}\n",
        table(kept["figures"]) + "\n" if name == "comparison" else "",
        f"**The paper.** {kept['paper']}\n",
        f"**Why.** {why}\n" if why else "",
        f"`{kept['command']}`, {kept['measured']}, commit {kept['commit']}, {kept['hardware']}, "
        f"torch {kept['versions']['torch']}.\n",
    ]
    return "\n".join(part for part in parts if part)


def _verb(agrees: bool | None) -> str:
    return "stays open" if agrees is None else answer(agrees)


def _said_of_judges(accuracy: Mapping[str, Any] | None) -> str:
    if accuracy is None:
        return ""
    shares = accuracy["attributes"].values()
    return (
        f"On {accuracy['real_pictures']} real held-out pictures the attribute reader is right in "
        f"{sum(shares) / len(shares):.1%}, and CLIP finds a picture's caption among "
        f"{accuracy['retrieval_among']} in {accuracy['retrieval']:.1%}; in styles that it has "
        "never seen the reader is less sure, so shares of what is seen compare methods and are no "
        "absolute marks."
    )


def read_why() -> dict[str, str]:
    """What explains an answer, written by hand: a section a claim."""
    parts = re.split(r"^## (\S+)\n", WHY.read_text(encoding="utf-8"), flags=re.M)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def take_over(folder: Path) -> None:
    """Copy results of a full run to where they ship from."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in PLACES:
        path = folder / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            text = json.dumps(kept, indent=1, ensure_ascii=False)
            (RESULTS / path.name).write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Take results over if told, then draw the figures and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, help="folder of a full run")
    source = parser.parse_args().source
    if source is not None:
        take_over(source.expanduser())
    results = read()
    for name, kept in results.items():
        save(find(name).draw(kept["figures"]), IMAGES / f"{name}.png")
    PAGE.write_text(page(results, read_why()), encoding="utf-8")
    print(f"{PAGE}: {len(results)} of {len(PLACES)} results")


if __name__ == "__main__":
    main()
