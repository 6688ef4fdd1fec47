"""How far a set of drawn pictures is from a set of real ones, in the judges' features.

KID and the Fréchet distance are torchmetrics' own, which come with `pip install "sdlearn[metrics]"`
and are given our features instead of those of a network that would have to be fetched. So neither
compares with a published KID or FID: compare runs that the same judges looked at.

Precision, recall, density and coverage are few lines here: the package `prdc` needs scikit-learn,
starts eight processes and prints.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

SUBSETS = 100  # for KID: subsets drawn of both sets, whose figures are averaged
NEAREST = 5  # neighbours whose distance is a picture's reach


def kid(
    embeds: torch.Tensor, real_embeds: torch.Tensor, *, subset_size: int | None = None
) -> tuple[float, float]:
    """Kernel distance of two sets, and its spread over subsets. Lower is better, 0 is the same.

    The unbiased squared MMD with the kernel (x y / D + 1)^3, so a figure slightly below 0 also
    means the same. Right for tens of pictures, where the Fréchet distance is not.

    Args:
        embeds: drawn pictures, (N, D).
        real_embeds: real pictures, (M, D).
        subset_size: pictures of each set at a time; all of the smaller set unless given.

    Raises ImportError without torchmetrics, ValueError for sets of fewer than two pictures and
    subsets larger than a set.

    Source: Binkowski et al. 2018, arXiv:1801.01401, section 4.
    """
    smaller = min(len(embeds), len(real_embeds))
    size = smaller if subset_size is None else subset_size
    if not 2 <= size <= smaller:
        raise ValueError(f"subsets of {size} of {smaller} pictures: give at least 2, at most all")
    subsets = 1 if size == max(len(embeds), len(real_embeds)) else SUBSETS  # all have all pictures
    metric = _torchmetrics("kid").KernelInceptionDistance(
        feature=_Given(embeds.shape[1]), subsets=subsets, subset_size=size
    )
    mean, spread = _compared(metric, embeds, real_embeds)
    return mean.item(), spread.item()


def frechet_distance(embeds: torch.Tensor, real_embeds: torch.Tensor) -> float:
    """FID with the judges' features: of two normal distributions. Lower is better, 0 is the same.

    Biased upwards for small sets: use `kid` for fewer pictures than some thousands. Raises
    ImportError without torchmetrics, ValueError for sets of fewer than two pictures.

    Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6.
    """
    if min(len(embeds), len(real_embeds)) < 2:
        raise ValueError("a single picture has no spread: give at least two on each side")
    width = embeds.shape[1]
    metric = _torchmetrics("fid").FrechetInceptionDistance(
        feature=_Given(width), input_img_size=(width,)
    )
    return _compared(metric.set_dtype(torch.float64), embeds, real_embeds).item()


def coverage(
    embeds: torch.Tensor, real_embeds: torch.Tensor, *, nearest: int = NEAREST
) -> dict[str, float]:
    """Precision, recall, density and coverage. Higher is better; all but density in [0, 1].

    A picture reaches as far as its `nearest`-th neighbour in its own set.

    - precision: share of drawn pictures within reach of a real one (are they good?)
    - recall: share of real pictures within reach of a drawn one (is everything drawn?)
    - density: by how many real ones a drawn one is reached, over `nearest`; about 1 for equal sets
    - coverage: share of real pictures that have a drawn one within their reach

    Args:
        embeds: drawn pictures, (N, D).
        real_embeds: real pictures, (M, D).

    Raises ValueError for sets that are not larger than `nearest`.

    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, section 2; Naeem et al. 2020,
    arXiv:2002.09797, section 3.
    """
    if not 1 <= nearest < min(len(embeds), len(real_embeds)):
        raise ValueError(
            f"{len(embeds)} drawn and {len(real_embeds)} real pictures have no neighbour number "
            f"{nearest}: give more pictures than that, or a smaller number"
        )
    drawn, real = embeds.double(), real_embeds.double()
    apart = _euclidean(real, drawn)  # (M, N)
    within_real = apart < _reach(real, nearest)[:, None]
    within_drawn = apart < _reach(drawn, nearest)[None]
    return {
        "precision": within_real.any(0).double().mean().item(),
        "recall": within_drawn.any(1).double().mean().item(),
        "density": within_real.sum(0).double().mean().item() / nearest,
        "coverage": within_real.any(1).double().mean().item(),
    }


def _euclidean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Without the shortcut by a matrix product, in which equal pictures are not at 0."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _reach(embeds: torch.Tensor, nearest: int) -> torch.Tensor:
    """Distance to the `nearest`-th neighbour, (N,); the picture itself is the 0th."""
    return _euclidean(embeds, embeds).kthvalue(nearest + 1, dim=1).values


class _Given(torch.nn.Module):
    """Stands where torchmetrics expects a network, for features that are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, embeds: torch.Tensor) -> torch.Tensor:
        return embeds


def _compared(metric: Any, embeds: torch.Tensor, real_embeds: torch.Tensor) -> Any:
    """torchmetrics draws subsets from the global generator: seeded here, and left as it was."""
    metric.update(real_embeds.double(), real=True)
    metric.update(embeds.double(), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return metric.compute()


def _torchmetrics(name: str) -> Any:
    if find_spec("torchmetrics") is None:
        raise ImportError(
            'KID and the Fréchet distance are torchmetrics\': pip install "sdlearn[metrics]"'
        )
    return import_module(f"torchmetrics.image.{name}")
