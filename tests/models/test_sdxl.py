import copy

import pytest
import torch
from runs import draw
from torch.testing import assert_close

from sdlearn.models import Conditioning, StableDiffusionXL, load, size_ids

PROMPTS = ["a photo of a person", ""]


def test_what_the_unet_is_told_equals_the_pipelines(tiny_xl):
    """The pipeline's own answer to no prompt at all is zeros, as SDXL was trained."""
    prompt, empty = (tiny_xl.condition([words]) for words in PROMPTS)
    ours = [prompt.encoder_hidden_states, empty.encoder_hidden_states]
    ours += [prompt.text_embeds, empty.text_embeds]
    theirs = tiny_xl.pipeline().encode_prompt(PROMPTS[0], device="cpu")
    assert all(torch.equal(own, other) for own, other in zip(ours, theirs, strict=True))
    assert tiny_xl.tokenize(PROMPTS).shape == (2, 2, 24)


def test_the_two_tokenizers_pad_differently(tiny_xl):
    first, second = tiny_xl.tokenize([""])[0]
    assert first[-1] == tiny_xl.tokenizer.eos_token_id
    assert second[-1] == tiny_xl.tokenizer.convert_tokens_to_ids("!")


def test_conditioning_without_sizes_is_refused_in_words(tiny_xl, tiny):
    with pytest.raises(ValueError, match="with_sizes"):
        tiny_xl.condition(PROMPTS).unet_inputs()
    plain = tiny.condition(PROMPTS).with_sizes(torch.zeros(2, 6))
    assert plain.unet_inputs().keys() == {"encoder_hidden_states"}


def test_rows_of_conditioning_are_picked_and_put_together(tiny_xl):
    both = tiny_xl.condition(PROMPTS).with_sizes(torch.arange(12.0).reshape(2, 6))
    turned = Conditioning.cat([both[[1]], both[:1]])
    assert len(turned) == 2
    for name in ("encoder_hidden_states", "text_embeds", "time_ids"):
        assert torch.equal(getattr(turned, name), getattr(both, name).flip(0))


def test_casting_leaves_the_sizes_as_they_are(tiny_xl):
    ids = size_ids((1023, 768), (0, 129), (1024, 1024)).unsqueeze(0)
    half = tiny_xl.condition([""]).with_sizes(ids).to(dtype=torch.bfloat16)
    assert half.encoder_hidden_states.dtype == half.text_embeds.dtype == torch.bfloat16
    assert half.time_ids.tolist() == [[1023, 768, 0, 129, 1024, 1024]]


def test_the_vae_stays_float32_and_the_pipeline_draws_all_the_same(tiny_xl, tiny_xl_folder):
    half = load(tiny_xl_folder, device="cpu", dtype=torch.bfloat16)
    assert isinstance(half, StableDiffusionXL)
    assert half.vae.dtype == torch.float32
    assert {m.dtype for m in (half.unet, half.text_encoder, half.text_encoder_2)} == {
        torch.bfloat16
    }
    assert_close(draw(half.pipeline()), draw(tiny_xl.pipeline()), rtol=0, atol=0.1)


def test_a_unet_in_float32_beside_frozen_parts_in_bfloat16_can_be_drawn_with(tiny):
    drawn = draw(tiny.pipeline())
    half = copy.deepcopy(tiny).to(dtype=torch.bfloat16)
    half.unet.float()
    assert_close(draw(half.pipeline()).float(), drawn, rtol=0, atol=0.1)
