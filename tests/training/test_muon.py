"""Muon, beside AdamW in one optimizer."""

import pytest
import torch
from torch import nn

from sdlearn.training.muon import MuonAdamW, orthogonalized, suits_muon


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_an_update_has_the_gradient_s_directions_and_nearly_equal_lengths(shape) -> None:
    torch.manual_seed(0)
    gradient = torch.randn(shape)
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    update = orthogonalized(gradient)
    lengths = left.T @ update @ right.T
    assert ((lengths.diag() > 0.6) & (lengths.diag() < 1.25)).all()
    assert (lengths - lengths.diag().diag()).abs().max() < 1e-3


def test_a_linear_layer_takes_the_steps_of_torch_s_muon() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(24, 48, bias=False), nn.Linear(24, 48, bias=False)
    theirs.load_state_dict(ours.state_dict())
    start = ours.weight.detach().clone()
    settings = {"lr": 0.01, "weight_decay": 0.1}
    optimizers = (
        MuonAdamW([{"params": ours.parameters(), "muon": True}], **settings),
        torch.optim.Muon(theirs.parameters(), adjust_lr_fn="match_rms_adamw", **settings),
    )
    for _ in range(5):
        gradient = torch.randn(48, 24)
        for layer, optimizer in zip((ours, theirs), optimizers, strict=True):
            layer.weight.grad = gradient.clone()
            optimizer.step()
    moved, as_torch = ours.weight - start, theirs.weight - start
    assert (moved - as_torch).norm() < 0.03 * as_torch.norm()  # torch's multiplies in bfloat16


def test_groups_without_it_take_adamw_s_steps_exactly() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 4), nn.Linear(4, 4)
    theirs.load_state_dict(ours.state_dict())
    hidden = nn.Conv2d(12, 12, 3)
    groups = [{"params": hidden.parameters(), "muon": True}, {"params": ours.parameters()}]
    groups[0]["params"] = [hidden.weight]
    mixed = MuonAdamW(groups, lr=0.01)
    plain = torch.optim.AdamW(theirs.parameters(), lr=0.01)
    for _ in range(3):
        for layer in (ours, theirs, hidden):
            layer.weight.grad = torch.full_like(layer.weight, 0.3)
        mixed.step()
        plain.step()
    assert torch.equal(ours.weight, theirs.weight)
    assert len(mixed.param_groups) == 2


def test_it_goes_on_from_its_state_as_if_never_stopped() -> None:
    def steps(layer: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            gradient = torch.randn(
                layer.weight.shape, generator=torch.Generator().manual_seed(seed)
            )
            layer.weight.grad = gradient
            optimizer.step()

    def made(layer: nn.Module) -> MuonAdamW:
        return MuonAdamW([{"params": [layer.weight], "muon": True}], lr=0.01)

    torch.manual_seed(0)
    straight, stopped, resumed = (nn.Conv2d(12, 16, 3, bias=False) for _ in range(3))
    stopped.load_state_dict(straight.state_dict())
    steps(straight, made(straight), range(4))
    first, second = made(stopped), made(resumed)
    steps(stopped, first, range(2))
    resumed.load_state_dict(stopped.state_dict())
    second.load_state_dict(first.state_dict())
    steps(resumed, second, range(2, 4))
    assert torch.equal(resumed.weight, straight.weight)


def test_it_leaves_tables_of_words_ways_in_and_out_and_vectors_alone() -> None:
    matrix = torch.zeros(32, 64)
    assert suits_muon("unet.down_blocks.0.resnets.0.conv1.weight", torch.zeros(32, 16, 3, 3))
    assert suits_muon("text_encoder.encoder.layers.0.mlp.fc1.weight", matrix)
    assert not suits_muon("unet.conv_in.weight", torch.zeros(64, 4, 3, 3))
    assert not suits_muon("text_encoder.embeddings.token_embedding.weight", matrix)
    assert not suits_muon("unet.conv_norm_out.weight", torch.zeros(64))
    assert not suits_muon("decoder.conv_out.weight", torch.zeros(3, 24, 3, 3))
