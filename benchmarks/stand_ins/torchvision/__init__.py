"""Stands in for torchvision, of which diffusers' example scripts take a few picture transforms.

torchvision has to fit torch's build exactly, so it is not among what this project installs. Here
are the transforms that the scripts use, on Pillow and torch, with the results of torchvision's own
for what the scripts do: Resize is Pillow's own resize there too, and the others are a line each.
They come to less time than torchvision's, which check and dispatch more, and import in no time, so
a comparison with these errs in the scripts' favour. `benchmarks/watched.py` puts this where the
scripts find it, for its own process.
"""

from torchvision import transforms

__version__ = "0.0"
__all__ = ["transforms"]
