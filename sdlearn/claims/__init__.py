"""The claims that courses repeat, measured on mini: experiments, figures and their results.

    from sdlearn.claims import find, run_claim
    from sdlearn.claims.size import SMALL

    run_claim(find("drift"), SMALL, Path("outputs/claims"))

Each experiment is a `Claim`; what has been run is kept, so one that was stopped goes on. The
results at full size ship with the course, in `data/results/claims`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdlearn.claims.claim import Claim

PLACES = {  # name -> file and constant, in the order of the page
    "comparison": ("comparison", "COMPARISON"),
    "drift": ("prior", "DRIFT"),
    "diversity": ("prior", "DIVERSITY"),
    "prior-fidelity": ("prior", "FIDELITY"),
    "expressible": ("expressible", "EXPRESSIBLE"),
    "overfitting": ("pictures", "OVERFITTING"),
    "vectors": ("vectors", "VECTORS"),
    "pictures": ("pictures", "ENOUGH"),
    "noun": ("noun", "NOUN"),
    "imagic": ("imagic", "IMAGIC"),
    "drawing-style": ("drawing_style", "DRAWING_STYLE"),
    "guidance": ("guidance", "GUIDANCE"),
    "sampler-steps": ("sampler_steps", "SAMPLER_STEPS"),
    "latent": ("latent", "LATENT"),
    "caption-dropout": ("caption_dropout", "CAPTION_DROPOUT"),
    "failures": ("failures", "GALLERY"),
}


def find(name: str) -> "Claim":
    """The claim of a name; raises ValueError, naming those there are."""
    if name not in PLACES:
        raise ValueError(f'there is no claim "{name}": choose from {", ".join(PLACES)}')
    file, constant = PLACES[name]
    return getattr(import_module(f"sdlearn.claims.{file}"), constant)
