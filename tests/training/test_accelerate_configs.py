"""The configuration files for several GPUs: accelerate reads them, and the guide names them all."""

import re
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env

CONFIGS = Path(__file__).parents[2] / "configs"
GUIDE = (CONFIGS / "README.md").read_text()
EXPECTED = {  # distributed_type, machines, processes of them all
    "one_gpu.yaml": ("NO", 1, 1),
    "eight_gpus.yaml": ("MULTI_GPU", 1, 8),
    "two_nodes.yaml": ("MULTI_GPU", 2, 16),
    "fsdp.yaml": ("FSDP", 1, 8),
    "deepspeed.yaml": ("DEEPSPEED", 1, 8),
}


def test_the_guide_and_the_tests_know_every_file():
    files = {path.name for path in CONFIGS.glob("*.yaml")}
    assert files == set(EXPECTED) == set(re.findall(r"^\| `(\w+\.yaml)`", GUIDE, flags=re.M))
    for name in re.findall(r"configs/(\w+\.yaml)", GUIDE):
        assert name in files


@pytest.mark.parametrize("name", EXPECTED)
def test_accelerate_reads_a_file_as_it_is_meant(name):
    config = load_config_from_file(str(CONFIGS / name))
    kind, machines, processes = EXPECTED[name]
    assert config.distributed_type == kind
    assert (config.num_machines, config.num_processes) == (machines, processes)
    assert not config.use_cpu
    assert config.mixed_precision == "no"  # sdlearn's own setting decides


def test_the_launch_command_of_the_guide_starts_sdlearn_with_the_file():
    command = re.search(r"^    accelerate launch (.*)$", GUIDE, flags=re.M)[1].split()
    command[command.index("--config_file") + 1] = str(CONFIGS / "eight_gpus.yaml")
    options = launch_command_parser().parse_args(command)
    assert options.module
    assert options.training_script == "sdlearn"
    assert options.training_script_args == ["train", "full", "PICTURES", "--output", "OUT"]


def test_fsdp_is_the_version_that_works_and_wraps_the_blocks_of_the_unet(monkeypatch, tiny):
    options = launch_command_parser().parse_args(
        ["--config_file", str(CONFIGS / "fsdp.yaml"), "script.py"]
    )
    options, _, _ = _validate_launch_command(options)
    for name, value in prepare_multi_gpu_env(options).items():
        if name.startswith("FSDP_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert not plugin.cpu_ram_efficient_loading
    plugin.set_auto_wrap_policy(tiny.unet)  # raises where a block is not found
