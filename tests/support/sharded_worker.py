"""What each process of the tests of FSDP and DeepSpeed runs: on CPUs, which accelerate has neither
for, so they are given to it as if they were GPUs.

accelerate launch --config_file configs/fsdp.yaml ... tests/support/sharded_worker.py MODEL FOLDER
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType, PartialState
from accelerate_worker import pictures

from sdlearn.finetune import DreamBooth, FitConfig, fit, run
from sdlearn.models import load
from sdlearn.training.distributed import check_sharding, is_deepspeed

CONFIG = FitConfig(
    max_train_steps=4,
    train_batch_size=2,
    gradient_accumulation_steps=2,
    learning_rate=1e-3,
    lr_scheduler="linear",
    adam_epsilon=1e-6,
    checkpointing_steps=2,
)
AVERAGE = {"use_ema": True, "ema_decay": 0.5}
SHOW = {"preview_prompts": ("a toy",), "preview_steps": 2, "preview_inference_steps": 1}


def method(sd):
    """The U-Net alone, which is what is sharded."""
    return DreamBooth(sd, with_prior_preservation=False)


def resume(sd, config: FitConfig) -> DreamBooth:
    """Stop in the middle, and go on."""
    steps = fit(method(sd), pictures(), config)
    for step in steps:
        if step.step == 3:
            break
    steps.close()
    resumed = method(sd)
    run(fit(resumed, pictures(), replace(config, resume=True)))
    return resumed


def main(model: str, folder: Path) -> None:
    """Train straight through, and with FSDP again with a stop in the middle."""
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)  # type: ignore
    sd = load(model, device="cpu")
    accelerator = Accelerator()
    config = CONFIG if is_deepspeed(accelerator) else replace(CONFIG, **AVERAGE)
    learnt = {"straight": method(sd)}
    shown = replace(config, output_dir=folder / "straight", **SHOW)
    run(fit(learnt["straight"], pictures(), shown))
    if not is_deepspeed(accelerator):
        learnt["resumed"] = resume(sd, replace(config, output_dir=folder / "stopped"))
    if accelerator.is_main_process:
        for name, trained in learnt.items():
            trained.save(folder / f"learnt-{name}")
    try:
        check_sharding(DreamBooth(sd, train_text_encoder=True), accelerator, config)
    except ValueError as error:
        (folder / f"refused-{accelerator.process_index}").write_text(str(error))
    accelerator.wait_for_everyone()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]))
