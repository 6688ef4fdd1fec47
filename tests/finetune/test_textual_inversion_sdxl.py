"""SDXL learns a word in both of its text encoders, and pools the prompt where it ends."""

import copy

import pytest
import torch
from runs import draw
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import CLIPTextModelWithProjection

from sdlearn.finetune import FitConfig, TextualInversion, fit, run
from sdlearn.models import load
from sdlearn.models.learned_embeds import with_token_rows, write_learned_embeds

TOKEN = "<my-character>"
PROMPT = f"a photo of {TOKEN} on a red background"
FAST = FitConfig(max_train_steps=3, train_batch_size=2, learning_rate=1e-2)


def trained(sd, pictures, **settings):
    method = TextualInversion(sd, **settings)
    run(fit(method, pictures, FAST))
    return method


def test_exactly_the_new_rows_of_both_text_encoders_move(tiny_xl, pictures):
    before = {id(m): copy.deepcopy(m.state_dict()) for m in tiny_xl.models}
    method = TextualInversion(tiny_xl, num_vectors=2)
    run(fit(method, pictures, FAST))
    for new, start in zip(method.new_rows, method.start, strict=True):
        assert (new.rows != start).any(dim=1).all()
    for name, encoder in method.sd.text_encoders.items():
        frozen = encoder.state_dict()
        for key, value in before[id(tiny_xl.text_encoders[name])].items():
            key = key.replace("token_embedding.weight", "token_embedding.table")
            assert torch.equal(frozen[key], value)
    for model in tiny_xl.models:
        assert all(torch.equal(model.state_dict()[k], v) for k, v in before[id(model)].items())


@pytest.mark.parametrize("num_vectors", [1, 3])
def test_the_file_has_a_key_for_each_text_encoder_and_draws_the_same_in_diffusers(
    num_vectors, tiny_xl, pictures, tmp_path
):
    method = trained(tiny_xl, pictures, num_vectors=num_vectors)
    path = method.save(tmp_path)
    rows = load_file(path)
    assert {k: v.shape for k, v in rows.items()} == {
        "clip_l": (num_vectors, 16),
        "clip_g": (num_vectors, 24),
    }
    plain = copy.deepcopy(tiny_xl).pipeline()
    for key, number in (("clip_l", ""), ("clip_g", "_2")):
        plain.load_textual_inversion(
            rows[key],
            token=TOKEN,
            text_encoder=getattr(plain, f"text_encoder{number}"),
            tokenizer=getattr(plain, f"tokenizer{number}"),
        )
    picture = draw(method.sd.pipeline(), PROMPT)
    assert torch.equal(draw(plain, PROMPT), picture)
    assert torch.equal(draw(tiny_xl.with_artefact(path).pipeline(), PROMPT), picture)
    assert not torch.equal(draw(tiny_xl.pipeline(), PROMPT), picture)


def test_a_new_word_does_not_move_the_place_where_the_prompt_is_pooled(tiny_xl, tiny_xl_folder):
    """With the published end token, 2, transformers pools at the highest id: at the new word."""
    ids = [
        tokenizer.convert_tokens_to_ids("person</w>") for tokenizer in tiny_xl.tokenizers.values()
    ]
    rows = [
        encoder.get_input_embeddings().weight[[id_]].detach()
        for encoder, id_ in zip(tiny_xl.text_encoders.values(), ids, strict=True)
    ]
    learned = with_token_rows(tiny_xl, TOKEN, *rows)
    known = tiny_xl.condition(["a photo of person"])
    for sd in (learned, TextualInversion(tiny_xl).sd):
        new = sd.condition([f"a photo of {TOKEN}"])
        assert_close(new.encoder_hidden_states, known.encoder_hidden_states, rtol=0, atol=0)
        assert_close(new.text_embeds, known.text_embeds, rtol=0, atol=0)

    wrong = CLIPTextModelWithProjection.from_pretrained(tiny_xl_folder / "text_encoder_2")
    wrong.resize_token_embeddings(len(learned.tokenizer_2), mean_resizing=False)
    with torch.no_grad():
        wrong.get_input_embeddings().weight[-1] = rows[1][0]
    pooled = wrong(learned.tokenize([f"a photo of {TOKEN}"])[:, 1]).text_embeds
    assert not torch.allclose(pooled, known.text_embeds, atol=1e-3)


def test_rows_stay_float32_beside_a_model_in_bfloat16(tiny_xl_folder, pictures):
    """Their updates would be rounded away: diffusers' script for SDXL once learned nothing."""
    half = load(tiny_xl_folder, device="cpu", dtype=torch.bfloat16)
    method = TextualInversion(half)
    run(fit(method, pictures, FitConfig(max_train_steps=1, train_batch_size=2, learning_rate=1e-6)))
    for new, start in zip(method.new_rows, method.start, strict=True):
        assert new.rows.dtype == torch.float32
        assert (new.rows != start).float().mean() > 0.9
    assert draw(method.sd.pipeline(), PROMPT).isfinite().all()


def test_a_file_without_the_word_is_called_by_its_name(tiny_xl, tiny, tmp_path):
    rows = {"clip_g": torch.ones(2, 24), "clip_l": torch.ones(2, 16)}
    save_file(rows, tmp_path / "myStyle.safetensors")
    assert "myStyle_1" in tiny_xl.with_artefact(tmp_path).tokenizer_2.get_added_vocab()
    save_file({"emb_params": torch.ones(1, 16)}, tmp_path / "other.safetensors")
    sd = tiny.with_artefact(tmp_path / "other.safetensors")
    assert list(sd.tokenizer.get_added_vocab())[-1] == "other"


def test_a_word_of_another_kind_of_model_is_refused(tiny_xl, tiny, tmp_path):
    path = write_learned_embeds(tmp_path / "one.safetensors", TOKEN, [torch.ones(1, 16)], {})
    with pytest.raises(ValueError, match=r"for 1 text encoder\(s\) and this model has 2"):
        tiny_xl.with_artefact(path)
    rows = [torch.ones(1, 16), torch.ones(1, 24)]
    path = write_learned_embeds(tmp_path / "two.safetensors", TOKEN, rows, {})
    with pytest.raises(ValueError, match=r"for 2 text encoder\(s\) and this model has 1"):
        tiny.with_artefact(path)
