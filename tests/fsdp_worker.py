"""What each process of the FSDP test runs: on CPUs, as accelerate's own FSDP asks for GPUs.

accelerate launch --config_file configs/fsdp.yaml ... tests/fsdp_worker.py MODEL FOLDER
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType, PartialState
from accelerate_worker import pictures

from sdlearn.finetune import DreamBooth, FitConfig, fit, run
from sdlearn.finetune.sharding import check_sharding
from sdlearn.models import load

CONFIG = FitConfig(
    max_train_steps=4,
    train_batch_size=2,
    gradient_accumulation_steps=2,
    learning_rate=1e-3,
    adam_epsilon=1e-6,
    use_ema=True,
    ema_decay=0.5,
    checkpointing_steps=2,
)
SHOW = {"preview_prompts": ("a toy",), "preview_steps": 2, "preview_inference_steps": 1}


def method(sd):
    """The U-Net alone, which is what FSDP shards."""
    return DreamBooth(sd, with_prior_preservation=False)


def main(model: str, folder: Path) -> None:
    """Train straight through, and again with a stop in the middle."""
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)  # type: ignore
    sd = load(model, device="cpu")
    straight = method(sd)
    run(fit(straight, pictures(), replace(CONFIG, output_dir=folder / "straight", **SHOW)))
    config = replace(CONFIG, output_dir=folder / "stopped")
    steps = fit(method(sd), pictures(), config)
    for step in steps:
        if step.step == 3:
            break
    steps.close()
    resumed = method(sd)
    run(fit(resumed, pictures(), replace(config, resume=True)))
    accelerator = Accelerator()
    if accelerator.is_main_process:
        straight.save(folder / "learnt")
        resumed.save(folder / "learnt-resumed")
    try:
        check_sharding(DreamBooth(sd, train_text_encoder=True), accelerator)
    except ValueError as error:
        (folder / f"refused-{accelerator.process_index}").write_text(str(error))
    accelerator.wait_for_everyone()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]))
