"""What an edit of one picture gains and what it loses, at each eta of Imagic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdlearn.evaluate.bootstrap import Interval, bootstrap_mean

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.evaluate.judges import Judges


@dataclass(frozen=True, kw_only=True)
class Edit:
    """An eta's pictures, judged; both higher is better, and one is bought with the other."""

    eta: float
    faithfulness: Interval  # cosine with the picture that is edited
    edit_strength: Interval  # CLIP's cosine with the target prompt


def edit_curve(
    judges: Judges,
    pictures: Mapping[float, Sequence[Image.Image]],
    original: Image.Image,
    target_prompt: str,
) -> list[Edit]:
    """Edit strength against faithfulness, eta by eta, with intervals over seeds.

    Both are cosines in [-1, 1]. Faithfulness usually falls and edit strength rises with eta.

    Args:
        pictures: for each eta, one picture a seed.
        original: the picture that is edited.
        target_prompt: what the edit should show.

    Raises ValueError where there is no eta, or one without pictures.

    Source: Kawar et al. 2022, arXiv:2210.09276, figure 9 (CLIP score and 1 - LPIPS; ours has the
    judges' encoder instead of LPIPS). The authors warn that both say little of a single edit.
    """
    if not pictures:
        raise ValueError("there is no eta to judge: give pictures of at least one")
    reference = judges.image_embeds([original])[0]  # (D,)
    target = judges.clip_text_embeds([target_prompt])[0]
    return [
        Edit(
            eta=eta,
            faithfulness=bootstrap_mean([(judges.image_embeds(images) @ reference).tolist()]),
            edit_strength=bootstrap_mean([(judges.clip_image_embeds(images) @ target).tolist()]),
        )
        for eta, images in pictures.items()
    ]
