"""Word maps: what is recorded is the U-Net's own attention, and recording changes nothing."""

import pytest
import torch

from sdlearn.course.attention import prompt_tokens, recorded, show_word_maps, word_maps


def test_recording_changes_neither_the_prediction_nor_the_unet(tiny):
    latents, states = torch.randn(2, 4, 8, 8), tiny.encode_prompt(["a red person", ""])
    before = tiny.unet.attn_processors
    plain = tiny.unet(latents, 500, states).sample
    with recorded(tiny.unet, (8, 8), guided=False):
        seen = tiny.unet(latents, 500, states).sample
    torch.testing.assert_close(seen, plain)
    assert tiny.unet.attn_processors == before


def test_the_maps_of_all_tokens_share_every_place_out(tiny):
    states = tiny.encode_prompt(["a red person"])
    with recorded(tiny.unet, (8, 8), guided=False) as recorder:
        tiny.unet(torch.randn(1, 4, 8, 8), 500, states)
    shares = recorder.total / recorder.calls  # (L, h, w)
    assert recorder.calls > 1
    torch.testing.assert_close(shares.sum(dim=0), torch.ones(8, 8))


def test_with_guidance_only_the_half_with_the_prompt_is_recorded(tiny):
    latents = torch.randn(1, 4, 8, 8)
    empty, states = tiny.encode_prompt([""]), tiny.encode_prompt(["a red person"])
    with recorded(tiny.unet, (8, 8), guided=True) as both:
        tiny.unet(torch.cat([latents, latents]), 500, torch.cat([empty, states]))
    with recorded(tiny.unet, (8, 8), guided=False) as alone:
        tiny.unet(latents, 500, states)
    torch.testing.assert_close(both.total, alone.total)


def test_every_token_of_a_prompt_has_a_map_and_a_title(tiny):
    assert prompt_tokens(tiny, "a red person") == ["a", "red", "person"]
    image, maps = word_maps(tiny, "a red person", steps=2)
    assert [m.word for m in maps] == ["a", "red", "person"]
    assert maps[0].weights.shape == (8, 8)
    titles = [axis.get_title() for axis in show_word_maps(image, maps).axes]
    assert titles[:4] == ["the picture", "a", "red", "person"]


def test_a_prompt_without_words_is_refused(tiny):
    with pytest.raises(ValueError, match="no words"):
        word_maps(tiny, "", steps=1)
