"""What each process of test_accelerate.py runs: three runs, and what it saw and wrote.

accelerate launch --cpu --num_processes 2 tests/support/accelerate_worker.py MODEL FOLDER BATCH_SIZE
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image
from runs import weights
from safetensors.torch import save_file

from sdlearn.data.folder import Picture
from sdlearn.finetune import DreamBooth, FitConfig, TextualInversion, class_pictures, fit
from sdlearn.models import load
from sdlearn.training import run_files

PARTS = {"num_class_images": 3, "class_inference_steps": 1, "train_text_encoder": True}
COUNT = 8  # pictures; an epoch is two steps of four


def pictures() -> list[Picture]:
    """Pictures of noise, the same in every process."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (COUNT, 32, 32, 3), dtype=np.uint8)
    return [Picture(image=Image.fromarray(pixels)) for pixels in noise]


def counted(counts: dict, module: object, name: str) -> None:
    """Count the calls of a function of a module."""
    function = getattr(module, name)

    def call(*args, **kwargs):
        counts[name] = counts.get(name, 0) + 1
        return function(*args, **kwargs)

    setattr(module, name, call)


def train(method, config: FitConfig, until: int) -> tuple[list, list]:
    """Run up to a step; the indices of each forward pass, and the losses."""
    seen, losses = [], []
    plain = method.loss

    def loss(batch, **models):
        seen.append(list(batch.indices))
        return plain(batch, **models)

    method.loss = loss
    steps = fit(method, pictures(), config)
    for step in steps:
        losses.append(float(step.loss))
        if step.step == until:
            break
    steps.close()
    return seen, losses


def main(model: str, folder: Path, batch_size: int) -> None:
    """Train straight through, and again with a stop in the middle."""
    sd = load(model, device="cpu")
    counts: dict[str, int] = {}
    counted(counts, class_pictures, "_draw")
    counted(counts, run_files, "save_checkpoint")
    config = FitConfig(
        max_train_steps=4,
        train_batch_size=batch_size,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        lr_scheduler="linear",
        snr_gamma=5.0,
        use_ema=True,
        ema_decay=0.5,
        checkpointing_steps=2,
        output_dir=folder / "straight",
    )
    method = DreamBooth(sd, **PARTS)
    seen, losses = train(method, config, 4)
    stopped = replace(config, output_dir=folder / "stopped")
    train(DreamBooth(sd, **PARTS), stopped, 3)
    resumed = DreamBooth(sd, **PARTS)
    train(resumed, replace(stopped, resume=True), 4)
    word = TextualInversion(sd)
    train(word, replace(config, output_dir=None), 4)
    process = PartialState()
    facts = {"seen": seen, "losses": losses, "counts": counts, "processes": process.num_processes}
    (folder / f"process-{process.process_index}.json").write_text(json.dumps(facts))
    if process.is_main_process:
        for name, trained in (("straight", method), ("resumed", resumed), ("word", word)):
            tensors = {str(i): p.contiguous() for i, p in enumerate(weights(trained))}
            save_file(tensors, folder / f"{name}.safetensors")
    process.wait_for_everyone()
    if process.num_processes > 1:
        process.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
