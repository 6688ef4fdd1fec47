"""The first cell of every notebook."""

from __future__ import annotations

import os
import sys
import warnings

import torch


def start(seed: int = 0) -> torch.device:
    """Say what this machine is, seed torch, make figures readable, and return the device.

    Nothing is fetched unless a cell names a model that is not here, as `load("sd15")` does.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # they warn of what is no fault of the learner
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.manual_seed(seed)
    _figures()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else _processor()
    print(f"sdlearn {_version()} on {name}, {_place()}: ready.")
    return device


def _version() -> str:
    from sdlearn import __version__

    return __version__


def _processor() -> str:
    cores = os.cpu_count() or 1
    return f"a processor with {cores} core{'s' * (cores > 1)}"


def _place() -> str:
    """Where the notebook runs, in words."""
    if "google.colab" in sys.modules:
        return "in Colab"
    return "on Kaggle" if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else "on your machine"


def _figures() -> None:
    """Lines, text and colours that the back of a room can tell apart, colour-blind people too."""
    import matplotlib.pyplot as plt

    # Okabe and Ito's palette
    colors = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"]
    plt.rcParams.update(
        {
            "figure.figsize": (8, 3.5),
            "figure.constrained_layout.use": True,
            "font.size": 13,
            "lines.linewidth": 2.5,
            "axes.prop_cycle": plt.cycler(color=colors),
            "axes.grid": True,
            "grid.alpha": 0.3,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "image.interpolation": "nearest",
        }
    )
