"""What is computed once of pictures and captions, in memory and on disk."""

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch.testing import assert_close

from sdlearn.data.cache import (
    CaptionCache,
    MomentCache,
    cut_size_ids,
    draw_variant,
    latents_from_moments,
)
from sdlearn.data.encoded import LazyFolder
from sdlearn.data.folder import write_pictures
from sdlearn.data.picture_loader import PictureLoader


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.fixture
def encodings(monkeypatch):
    """How many pictures the VAE has encoded."""
    counted = []
    encode = AutoencoderKL.encode

    def count(self, pixel_values):
        counted.extend([1] * len(pixel_values))
        return encode(self, pixel_values)

    monkeypatch.setattr(AutoencoderKL, "encode", count)
    return counted


def test_cached_moments_give_the_latents_that_the_vae_gives(loaded_tiny, pictures):
    cache = MomentCache(loaded_tiny, pictures, 32)
    pixel_values = torch.rand(1, 3, 32, 32) * 2 - 1
    posterior = loaded_tiny.vae.encode(pixel_values).latent_dist
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    theirs = posterior.sample(torch.Generator().manual_seed(0)) * 0.7
    assert_close(latents_from_moments(posterior.parameters, noise, 0.7), theirs)
    generators = [torch.Generator().manual_seed(i) for i in (0, 0, 1)]
    first, second, other = cache.latents([2, 2, 2], generators)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_both_mirrorings_are_cached_and_drawn(loaded_tiny, pictures):
    cache = MomentCache(loaded_tiny, pictures[:1], 32, random_flip=True)
    assert cache.moments.shape == (1, 2, 8, 8, 8)
    assert {draw_variant(True, torch.Generator().manual_seed(i)) for i in range(9)} == {0, 1}


def test_each_different_caption_is_encoded_once(loaded_tiny):
    cache = CaptionCache(loaded_tiny, ["a person", "a toy", "a person"])
    assert len(cache.conditioning) == 2
    expected = loaded_tiny.encode_prompt(["a toy", "a person"])
    assert_close(cache[["a toy", "a person"]].encoder_hidden_states, expected)


def test_a_vae_that_gives_no_finite_numbers_is_refused(tiny, pictures, monkeypatch):
    encode = AutoencoderKL.encode

    def broken(self, pixel_values):
        output = encode(self, pixel_values)
        output.latent_dist.parameters = output.latent_dist.parameters * float("nan")
        return output

    monkeypatch.setattr(AutoencoderKL, "encode", broken)
    with pytest.raises(ValueError, match="not finite"):
        MomentCache(tiny, pictures, 32)


def test_pictures_of_different_sizes_are_encoded_at_their_own(loaded_tiny, pictures):
    sizes = [(32, 32), (24, 40), (24, 40), (32, 32)]
    cache = MomentCache(loaded_tiny, pictures, sizes)
    assert cache.latents([1, 2], generators(0, 1)).shape == (2, 4, 6, 10)
    alone = MomentCache(loaded_tiny, pictures[2:3], [(24, 40)])
    assert torch.equal(
        cache.latents([1, 2], generators(0, 1))[1], alone.latents([0], generators(1))[0]
    )
    with pytest.raises(ValueError, match="30 pixels do not fit"):
        MomentCache(loaded_tiny, pictures, [(32, 30)] * 4)


def test_the_sizes_that_sdxl_is_told_are_those_of_the_cut():
    assert cut_size_ids((100, 300), (32, 32)).tolist() == [100, 300, 0, 32, 32, 32]
    assert cut_size_ids((300, 100), (32, 64)).tolist() == [300, 100, 80, 0, 32, 64]


@pytest.mark.parametrize("random_flip", [False, True])
def test_what_is_kept_on_disk_is_bit_for_bit_what_the_vae_gave(
    random_flip, loaded_tiny, pictures, tmp_path, encodings
):
    plain = MomentCache(loaded_tiny, pictures, 32, random_flip)
    first = MomentCache(loaded_tiny, pictures, 32, random_flip, cache_dir=tmp_path)
    assert len(encodings) == 2 * 4 * (1 + random_flip)
    second = MomentCache(loaded_tiny, pictures, 32, random_flip, cache_dir=tmp_path)
    assert len(encodings) == 2 * 4 * (1 + random_flip)
    assert torch.equal(first.moments, plain.moments)
    assert torch.equal(second.moments, plain.moments)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 4


def test_mixed_precision_does_not_reach_the_vae(loaded_tiny, pictures):
    loader = PictureLoader(loaded_tiny, lambda picture: [picture.text])
    loaded = [loader.load(picture, (32, 32)) for picture in pictures]
    expected = loader.latents(loaded, generators(0, 1, 2, 3))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loader.latents(loaded, generators(0, 1, 2, 3)), expected)


def test_another_size_picture_or_vae_is_encoded_anew(tiny, pictures, tmp_path, encodings):
    MomentCache(tiny, pictures[:1], 32, cache_dir=tmp_path)
    MomentCache(tiny, pictures[:1], 40, cache_dir=tmp_path)
    MomentCache(tiny, pictures[:1], 32, True, cache_dir=tmp_path)
    MomentCache(tiny, pictures[1:2], 32, cache_dir=tmp_path)
    assert len(encodings) == 5
    with torch.no_grad():
        tiny.vae.encoder.conv_in.weight[0] += 1
    MomentCache(tiny, pictures[:1], 32, cache_dir=tmp_path)
    assert len(encodings) == 6


def test_half_precision_is_kept_in_half_the_space_and_loses_nothing(tiny, pictures, tmp_path):
    tiny.vae.to(torch.bfloat16)
    made = MomentCache(tiny, pictures[:1], 32, cache_dir=tmp_path)
    read = MomentCache(tiny, pictures[:1], 32, cache_dir=tmp_path)
    assert torch.equal(made.moments, read.moments)
    (file,) = tmp_path.rglob("*.safetensors")
    assert load_file(file)["moments"].dtype == torch.bfloat16


def test_a_folder_with_all_moments_on_disk_decodes_no_picture(
    loaded_tiny, pictures, tmp_path, monkeypatch
):
    write_pictures(tmp_path / "pictures", pictures)
    folder = LazyFolder(tmp_path / "pictures")
    first = MomentCache(loaded_tiny, folder, 32, cache_dir=tmp_path / "cache")
    monkeypatch.setattr("sdlearn.data.encoded.read_image", lambda *_, **__: pytest.fail("decoded"))
    second = MomentCache(loaded_tiny, folder, 32, cache_dir=tmp_path / "cache")
    assert torch.equal(first.moments, second.moments)
    assert torch.equal(first.time_ids, second.time_ids)


def test_a_cache_that_cannot_be_written_to_is_refused_before_encoding(
    loaded_tiny, pictures, tmp_path, encodings
):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to the folder"):
        MomentCache(loaded_tiny, pictures, 32, cache_dir=tmp_path / "file")
    assert not encodings
