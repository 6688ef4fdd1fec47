"""What is measured of the pictures of a subject and of its class, figure by figure.

Pictures come in groups, one for each prompt; the intervals are over prompts and seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sdlearn.evaluate.bootstrap import Interval, bootstrap, bootstrap_mean
from sdlearn.evaluate.diversity import diversity, diversity_interval, vendi_score
from sdlearn.evaluate.memorisation import memorisation
from sdlearn.evaluate.metrics import Attributes, total_variation

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.evaluate.judges import Judges

    Groups = Sequence[Sequence[Image.Image]]  # for each prompt, one picture a seed


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the table."""

    name: str  # in the JSON
    label: str  # in the table
    better: str  # "higher", "lower", or "" where neither is
    pictures: int  # that it was measured on
    interval: Interval


def likeness_figures(
    judges: Judges, groups: Groups, references: Sequence[Image.Image]
) -> tuple[list[Figure], str]:
    """How much pictures look like the subject's, and how many are copies; and what to know of it.

    See `subject_fidelity` and `memorisation`. Fewer than two different pictures of the subject set
    no threshold: then copies are not counted, and the sentence says so.
    """
    real, number = judges.image_embeds(references), _number(groups)
    embeds = [judges.image_embeds(group) for group in groups]
    fidelity = bootstrap_mean([(group @ real.T).mean(1).tolist() for group in embeds])
    figures = [_figure("subject_fidelity", "like the subject (cosine)", "higher", number, fidelity)]
    try:
        found = memorisation(torch.cat(embeds), real)
    except ValueError as error:
        return figures, f"Copies were not counted: {error}."
    lengths = [len(group) for group in groups]
    copied = [part.tolist() for part in torch.tensor(found.copied).split(lengths)]
    nearest = [part.tolist() for part in found.nearest.split(lengths)]
    figures += [
        _figure(
            "memorised", "copies of a training picture", "lower", number, bootstrap_mean(copied)
        ),
        _figure(
            "nearest",
            "distance to the nearest training picture",
            "",
            number,
            bootstrap_mean(nearest),
        ),
    ]
    return figures, (
        f"A copy is nearer to a training picture than {found.threshold:.3f}, about the least that "
        f"any two of the {len(real)} are apart."
    )


def prompt_figures(judges: Judges, groups: Groups, prompts: Sequence[str]) -> list[Figure]:
    """How well each group fits its prompt, worded without learned words: see `prompt_fit`."""
    text = judges.clip_text_embeds(prompts)
    fits = [
        (judges.clip_image_embeds(group) @ row).tolist()
        for group, row in zip(groups, text, strict=True)
    ]
    interval = bootstrap_mean(fits)
    return [_figure("prompt_fit", "like the prompt (CLIP-T)", "higher", _number(groups), interval)]


def attribute_figures(
    judges: Judges, groups: Groups, asked: Sequence[Sequence[Attributes]]
) -> list[Figure]:
    """Of what was asked of each picture, the share that the reader sees; none if it knows none."""
    shares, number, known = [], 0, judges.values
    for group, wishes in zip(groups, asked, strict=True):
        seen = [
            [read[name] == value for name, value in wanted.items() if value in known.get(name, ())]
            for read, wanted in zip(judges.read(group), wishes, strict=True)
        ]
        shares.append([sum(hits) / len(hits) for hits in seen if hits])
        number += len(shares[-1])
    if not number:
        return []
    interval = bootstrap_mean([group for group in shares if group])
    return [_figure("asked_and_seen", "asked and seen (reader)", "higher", number, interval)]


def diversity_figures(judges: Judges, groups: Groups) -> list[Figure]:
    """How different the pictures of one prompt are, over the prompts that have two or more."""
    embeds = [judges.image_embeds(group) for group in groups if len(group) > 1]
    if not embeds:
        return []
    number = sum(map(len, embeds))
    if len(embeds) == 1:
        apart = diversity_interval(embeds[0])
    else:
        apart = bootstrap_mean([[diversity(group)] for group in embeds])
    figures = [_figure("diversity", "difference within a prompt (DIV)", "higher", number, apart)]
    if len(embeds) > 1:  # of one group drawn again a score would count the same pictures twice
        vendi = bootstrap_mean([[vendi_score(group)] for group in embeds])
        label = f"different pictures a prompt (Vendi, of {number / len(embeds):g})"
        figures.append(_figure("vendi_score", label, "higher", number, vendi))
    return figures


def class_figures(
    judges: Judges,
    before: Sequence[Image.Image],
    after: Sequence[Image.Image],
    references: Sequence[Image.Image],
) -> list[Figure]:
    """How far pictures of the bare class have drifted; picture i of both sides has one seed.

    See `class_drift` (PRES) and `total_variation`. All intervals are over the seeds.
    """
    real, number = judges.image_embeds(references), len(after)
    embeds = {"before": judges.image_embeds(before), "after": judges.image_embeds(after)}
    alike = {when: (rows @ real.T).mean(1) for when, rows in embeds.items()}
    read = [judges.read(before), judges.read(after)]
    shift = bootstrap(
        lambda places: total_variation(*([side[place] for place in places] for side in read)),
        number,
    )
    rise = (alike["after"] - alike["before"]).tolist()
    rows = [
        ("class_like_subject", "class like the subject (PRES)", "lower", alike["after"].tolist()),
        (
            "class_like_subject_before",
            "the same without the artefact",
            "",
            alike["before"].tolist(),
        ),
        ("class_drift", "risen by, seed for seed", "lower", rise),
    ]
    return [
        *(
            _figure(name, label, better, number, bootstrap_mean([v]))
            for name, label, better, v in rows
        ),
        _figure(
            "class_shift", "class's attributes shifted (total variation)", "lower", number, shift
        ),
        *(
            _figure(
                f"class_diversity{end}", label, better, number, diversity_interval(embeds[when])
            )
            for end, label, better, when in (
                ("", "difference within the class (DIV)", "higher", "after"),
                ("_before", "the same without the artefact", "", "before"),
            )
        ),
    ]


def _figure(name: str, label: str, better: str, pictures: int, interval: Interval) -> Figure:
    return Figure(name=name, label=label, better=better, pictures=pictures, interval=interval)


def _number(groups: Groups) -> int:
    return sum(len(group) for group in groups)
