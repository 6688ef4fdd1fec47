"""What courses repeat, measured on mini: an experiment, a figure and a result for each claim.

    python -m experiments                       # what there is, and what was found
    python -m experiments drift                 # measure one again at a small size, in minutes
    python -m experiments drift --size full     # as it was measured for the course

Each experiment is a `Claim`; what has been run is kept, so one that was stopped goes on. The
results at full size ship with the course, in `data/results/claims`. Not part of the wheel.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.claim import Claim

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
    """Return the claim of a name; raise ValueError, naming those there are, for another."""
    if name not in PLACES:
        raise ValueError(f'there is no claim "{name}": choose from {", ".join(PLACES)}')
    file, constant = PLACES[name]
    return getattr(import_module(f"experiments.{file}"), constant)
