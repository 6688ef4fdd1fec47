"""Imagic's two stages, ours or diffusers' community pipeline's, on one picture: no more than that.

    python benchmarks/imagic_sides.py ours|CHECKOUT MODEL PICTURE STEPS_A STEPS_B

Neither has a script that only trains: `sdlearn train imagic` goes on to draw and choose, and the
pipeline is a class. Both are given the same steps, and neither clips gradients.
"""

import importlib.util
import sys
from pathlib import Path

import torch

PROMPT = "a smiling person"


def ours(model: str, picture: Path, steps: tuple[int, int]) -> None:
    """`sdlearn`'s stages, as `sdlearn train imagic` trains them."""
    from sdlearn.data.folder import Picture, read_image
    from sdlearn.finetune import FitConfig, Imagic, fit, run
    from sdlearn.models import load

    settings = {"embedding_steps": steps[0], "unet_steps": steps[1], "target_prompt": PROMPT}
    settings |= {"embedding_learning_rate": 1e-3, "unet_learning_rate": 2e-6}
    imagic = Imagic(load(model, in_place=True), **settings)
    config = FitConfig(train_batch_size=1, max_grad_norm=0)
    run(fit(imagic, [Picture(image=read_image(picture))], config))


def theirs(checkout: Path, model: str, picture: Path, steps: tuple[int, int]) -> None:
    """The pipeline's `train`, at its own learning rates."""
    path = checkout / "examples" / "community" / "imagic_stable_diffusion.py"
    spec = importlib.util.spec_from_file_location("imagic_stable_diffusion", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pipeline = module.ImagicStableDiffusionPipeline.from_pretrained(
        model, safety_checker=None, feature_extractor=None
    )
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    from sdlearn.data.image_files import read_image

    image = read_image(picture)
    pipeline.train(
        PROMPT,
        image,
        height=image.height,
        width=image.width,
        text_embedding_optimization_steps=steps[0],
        model_fine_tuning_optimization_steps=steps[1],
    )


def main() -> None:
    """One side, as the command says."""
    side, model, picture, *steps = sys.argv[1:]
    both = (int(steps[0]), int(steps[1]))
    if side == "ours":
        ours(model, Path(picture), both)
    else:
        theirs(Path(side), model, Path(picture), both)


if __name__ == "__main__":
    main()
