"""What is said of drawn pictures, in figures. Each says which direction is better, and its source.

Cosines lie in [-1, 1] and shares in [0, 1]. They compare runs judged by the same judges; they are
no absolute marks, and small differences need many seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.evaluate.judges import Judges

Attributes = Mapping[str, str]


def subject_fidelity(
    judges: Judges, images: Sequence[Image.Image], references: Sequence[Image.Image]
) -> float:
    """How much drawn pictures look like real ones of the subject. Higher is better, 1 is the same.

    The mean cosine of all pairs of a drawn and a real picture, in self-supervised features.
    Raises ValueError where there are no pictures on one side.

    Source: Ruiz et al. 2022, arXiv:2208.12242, section 4.2 (DINO; ours is the judges' encoder).
    """
    return _mean_pairwise_cosine(judges, images, references)


def class_drift(
    judges: Judges, images: Sequence[Image.Image], subject_references: Sequence[Image.Image]
) -> float:
    """PRES: how much pictures of the class ("a person") look like the subject. Lower is better.

    The mean cosine of all pairs of a picture drawn from the class prompt and a real one of the
    subject. Compare it with the same before training: what it has risen by is the drift.
    Raises ValueError where there are no pictures on one side.

    Source: Ruiz et al. 2022, arXiv:2208.12242, section 4.3 (.664 without prior preservation, .493
    with it).
    """
    return _mean_pairwise_cosine(judges, images, subject_references)


def _mean_pairwise_cosine(
    judges: Judges, images: Sequence[Image.Image], references: Sequence[Image.Image]
) -> float:
    cosines = judges.image_embeds(images) @ judges.image_embeds(references).T  # (N, M)
    return cosines.mean().item()


def prompt_fit(judges: Judges, images: Sequence[Image.Image], prompts: Sequence[str]) -> float:
    """How well each picture fits its own prompt (CLIP-T). Higher is better.

    The mean over pictures of the cosine of picture and prompt in CLIP's space. Prompts are to
    describe what should be seen, without learned tokens: the judges do not know those.
    Raises ValueError where the numbers of pictures and prompts differ.

    Source: Ruiz et al. 2022, arXiv:2208.12242, section 4.2 (CLIP-T).
    """
    _check_pairs(images, prompts, "prompts")
    image_embeds, text_embeds = judges.clip_image_embeds(images), judges.clip_text_embeds(prompts)
    return (image_embeds * text_embeds).sum(1).mean().item()


def attribute_fit(
    judges: Judges, images: Sequence[Image.Image], attributes: Sequence[Attributes]
) -> float:
    """Of everything that was asked for, the share that the reader sees. Higher is better.

    Args:
        attributes: for each picture, what was asked of it; what is missing is not counted.

    Raises ValueError where the numbers differ, nothing was asked, or the reader does not know an
    attribute or value that was.

    Source: our own, for want of a paper: the reader stands in for a person with the list in hand.
    """
    _check_pairs(images, attributes, "lists of attributes")
    shares = attribute_shares(judges.read(images), attributes, judges.values)
    asked = Counter(name for wanted in attributes for name in wanted)
    return sum(shares[name] * number for name, number in asked.items()) / asked.total()


def attribute_shares(
    read: Sequence[Attributes],
    asked: Sequence[Attributes],
    values: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """`attribute_fit` of each attribute by itself, from what the reader saw.

    Args:
        read: what the reader saw, picture by picture.
        asked: what was asked, picture by picture.
        values: the values that the reader knows (`judges.values`); sets the order of the answer.

    Raises ValueError where nothing was asked, or something that the reader does not know.
    """
    right: Counter[str] = Counter()
    number: Counter[str] = Counter()
    for seen, wanted in zip(read, asked, strict=True):
        for name, value in wanted.items():
            if value not in values.get(name, ()):
                raise ValueError(
                    f"the reader does not know {name}={value}: it knows {dict(values)}"
                )
            number[name] += 1
            right[name] += seen[name] == value
    if not number:
        raise ValueError("no attribute was asked of any picture: give at least one")
    return {name: right[name] / number[name] for name in values if number[name]}


def seen_shares(
    judges: Judges, images: Sequence[Image.Image], asked: Sequence[Attributes]
) -> list[float]:
    """Of what was asked of each picture, the share that the reader sees. Higher is better.

    At least one thing is asked of each, of the attributes that the reader knows; a value that it
    does not know counts as not seen. Raises ValueError where the numbers differ.
    """
    return [
        sum(read[name] == value for name, value in wanted.items()) / len(wanted)
        for read, wanted in zip(judges.read(images), asked, strict=True)
    ]


def total_variation(before: Sequence[Attributes], after: Sequence[Attributes]) -> float:
    """How far what a prompt draws has shifted: 0 not at all, 1 to entirely other values.

    The mean of `attribute_shift` over the attributes. Lower is better where nothing was to change,
    as with the class prompt. From n pictures each, chance alone gives about sqrt(k / (pi n))
    for an attribute of k values: compare with two sets from the same model.
    """
    shifts = attribute_shift(before, after)
    return sum(shifts.values()) / len(shifts)


def attribute_shift(before: Sequence[Attributes], after: Sequence[Attributes]) -> dict[str, float]:
    """The total variation distance of each attribute's distribution, in [0, 1]. Lower is better.

    Half the sum over an attribute's values of how much its share differs, for the attributes that
    every picture has (`judges.read` gives all). Raises ValueError where a side is empty or no
    attribute is on all pictures.
    """
    pictures = [*before, *after]
    if not before or not after:
        raise ValueError("nothing was read on one side: give pictures from before and after")
    names = [name for name in pictures[0] if all(name in picture for picture in pictures)]
    if not names:
        raise ValueError("no attribute was read in every picture: read all with the same judges")
    return {name: _shift([p[name] for p in before], [p[name] for p in after]) for name in names}


def _shift(before: Sequence[str], after: Sequence[str]) -> float:
    first, second = Counter(before), Counter(after)
    return 0.5 * sum(
        abs(first[value] / len(before) - second[value] / len(after)) for value in first | second
    )


def retrieval_accuracy(
    judges: Judges, images: Sequence[Image.Image], captions: Sequence[str], among: int = 100
) -> float:
    """How often a picture's own caption is nearest to it among `among`. Higher is better.

    Pictures are taken in groups of `among`, the last ones that fill no group are left out; chance
    is 1 / `among`. Raises ValueError for fewer pictures than one group.

    Source: Radford et al. 2021, arXiv:2103.00020, section 3.1.3 (picture to text).
    """
    _check_pairs(images, captions, "captions")
    if len(images) < among:
        raise ValueError(f"{len(images)} pictures make no group of {among}: give more")
    number = len(images) // among * among
    image_embeds = judges.clip_image_embeds(images[:number]).unflatten(0, (-1, among))
    text_embeds = judges.clip_text_embeds(captions[:number]).unflatten(0, (-1, among))
    cosines = image_embeds @ text_embeds.mT  # (groups, among pictures, among captions)
    return (cosines.argmax(-1) == torch.arange(among)).float().mean().item()


def psnr(reconstruction: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio of each picture in dB, (B,). Higher is better.

    Both are (B, 3, H, W) in [-1, 1], so the peak is 2; what is reconstructed is cut to the range.
    """
    mse = (reconstruction.clamp(-1, 1) - pixel_values).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / mse)


def _check_pairs(images: Sequence[object], others: Sequence[object], what: str) -> None:
    if len(images) != len(others):
        raise ValueError(f"{len(images)} pictures and {len(others)} {what}: give one to each")
