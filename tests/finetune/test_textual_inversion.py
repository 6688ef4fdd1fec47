import ast
import copy
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from runs import draw
from safetensors import safe_open
from safetensors.torch import load_file
from torch.testing import assert_close

from sdlearn.data.folder import Picture
from sdlearn.finetune import FitConfig, TextualInversion, fit, run
from sdlearn.finetune.provenance import card
from sdlearn.finetune.templates import (
    OBJECT_TEMPLATES,
    STYLE_TEMPLATES,
    fill,
    fill_word,
    word_pattern,
)
from sdlearn.training.batches import draw_batch

TOKEN = "<my-character>"
FAST = FitConfig(max_train_steps=3, train_batch_size=2, learning_rate=1e-2)


def trained(sd, pictures, config=FAST, **settings):
    method = TextualInversion(sd, **settings)
    run(fit(method, pictures, config))
    return method


def test_exactly_the_new_rows_move(tiny, pictures):
    before = copy.deepcopy(tiny.text_encoder.state_dict())
    method = TextualInversion(tiny, num_vectors=2)
    start = method.new_rows[0].rows.detach().clone()
    run(fit(method, pictures, FAST))
    assert (method.new_rows[0].rows != start).any(dim=1).all()
    frozen = method.sd.text_encoder.state_dict()
    for key, value in before.items():
        frozen_key = key.replace("token_embedding.weight", "token_embedding.table")
        assert torch.equal(frozen[frozen_key], value)
    assert [p.shape for p in method.sd.text_encoder.parameters() if p.requires_grad] == [(2, 16)]


def test_the_gradient_equals_that_of_a_whole_table(tiny, pictures):
    method = TextualInversion(tiny, num_vectors=2)
    ids = method.sd.tokenize([f"a photo of {TOKEN}"])
    method.sd.text_encoder(ids)[0].square().sum().backward()
    tiny.text_encoder.resize_token_embeddings(len(method.sd.tokenizer), mean_resizing=False)
    table = tiny.text_encoder.get_input_embeddings().weight
    with torch.no_grad():
        table[-2:] = method.new_rows[0].rows
    table.requires_grad_(True)
    tiny.text_encoder(ids)[0].square().sum().backward()
    assert_close(method.new_rows[0].rows.grad, table.grad[-2:])


def test_the_first_row_is_that_of_the_initializer_or_the_mean(tiny):
    table = tiny.text_encoder.get_input_embeddings().weight
    person = tiny.tokenizer.convert_tokens_to_ids("person</w>")
    for n in (1, 3):
        rows = TextualInversion(tiny, num_vectors=n).new_rows[0].rows
        assert_close(rows.detach(), table[person].expand(n, -1), rtol=0, atol=0)
    rows = TextualInversion(tiny, initializer_token=None).new_rows[0].rows
    assert_close(rows[0].detach(), table.mean(dim=0))


def test_no_weight_decay_pulls_on_the_word(tiny, pictures):
    method = TextualInversion(tiny)
    start = method.new_rows[0].rows.detach().clone()
    plain_loss = method.loss
    method.loss = lambda batch, **models: 0 * plain_loss(batch, **models)
    run(fit(method, pictures, FitConfig(max_train_steps=2, adam_weight_decay=0.5)))
    assert torch.equal(method.new_rows[0].rows, start)


@pytest.mark.parametrize("num_vectors", [1, 3])
def test_what_is_saved_loads_in_diffusers_and_draws_the_same_bit_for_bit(
    num_vectors, tiny, pictures, tmp_path
):
    method = trained(tiny, pictures, num_vectors=num_vectors)
    path = method.save(tmp_path)
    assert path == tmp_path / "my-character.safetensors"
    with safe_open(path, framework="pt") as file:
        assert list(file.keys()) == [TOKEN]
        assert file.get_tensor(TOKEN).shape == (num_vectors, 16)
        assert json.loads(file.metadata()["sdlearn"])["method"] == "textual-inversion"
    plain = copy.deepcopy(tiny).pipeline()
    plain.load_textual_inversion(str(path))
    prompt = f"a photo of {TOKEN} on a red background"
    picture = draw(method.sd.pipeline(), prompt)
    assert torch.equal(draw(plain, prompt), picture)
    assert torch.equal(draw(tiny.with_artefact(path).pipeline(), prompt), picture)
    assert torch.equal(draw(tiny.with_artefact(tmp_path).pipeline(), prompt), picture)
    assert not torch.equal(draw(tiny.pipeline(), prompt), picture)


def test_a_token_of_several_vectors_is_trained_written_out(tiny):
    method = TextualInversion(tiny, num_vectors=3)
    ids = method.sd.tokenize([f"a photo of {TOKEN}"])[0]
    assert (ids >= method.new_rows[0].first_id).sum() == 3


@pytest.mark.parametrize("token", ["person", "PERSON", "a", "<|endoftext|>", "", "two words"])
def test_a_placeholder_that_is_no_new_word_is_refused(token, tiny):
    with pytest.raises(ValueError, match="placeholder_token"):
        TextualInversion(tiny, placeholder_token=token)


def test_an_initializer_of_more_tokens_than_vectors_is_refused_with_its_pieces(tiny):
    with pytest.raises(ValueError, match=r"4 tokens \(k \+ i \+ n \+ g</w>\) and num_vectors is 3"):
        TextualInversion(tiny, initializer_token="king", num_vectors=3)
    with pytest.raises(ValueError, match=r"0 tokens \(nothing\)"):
        TextualInversion(tiny, initializer_token=" ")


def test_several_words_start_a_row_each_so_that_nothing_changes_before_training(tiny):
    method = TextualInversion(tiny, initializer_token="red toy person", num_vectors=3)
    ours = method.sd.encode_prompt([f"a photo of {TOKEN}"])
    assert_close(ours, tiny.encode_prompt(["a photo of red toy person"]), rtol=0, atol=0)
    in_turn = TextualInversion(tiny, initializer_token="red toy", num_vectors=3).new_rows[0].rows
    assert torch.equal(in_turn[0], in_turn[2])
    assert not torch.equal(in_turn[0], in_turn[1])


def test_a_learned_word_can_be_learned_further(tiny, pictures, tmp_path):
    path = trained(tiny, pictures, num_vectors=2).save(tmp_path)
    learned = tiny.with_artefact(path)
    again = TextualInversion(
        learned, placeholder_token="<again>", initializer_token=TOKEN, num_vectors=2
    )
    assert_close(
        again.sd.encode_prompt(["a photo of <again>"]),
        learned.encode_prompt([f"a photo of {TOKEN}"]),
        rtol=0,
        atol=0,
    )


def test_the_pull_is_the_mean_squared_distance_of_the_rows_from_their_start(tiny, pictures):
    free = TextualInversion(tiny, num_vectors=2)
    pulled = TextualInversion(tiny, num_vectors=2, embedding_reg_weight=0.5)
    moves = torch.tensor([[0.3], [-0.1]])
    losses = []
    for method in (free, pulled):
        method.prepare(pictures, FAST)
        with torch.no_grad():
            method.new_rows[0].rows += moves
        batch = draw_batch(0, count=4, size=2, seed=0)
        losses.append(method.loss(batch, text_encoder=method.sd.text_encoder))
    by_hand = 0.5 * (16 * 0.3**2 + 16 * 0.1**2) / 2
    assert_close(losses[1] - losses[0], torch.tensor(by_hand), rtol=1e-4, atol=1e-5)


def test_a_checkpoint_holds_the_new_rows_and_their_moments_only(tiny, pictures, tmp_path):
    """At the width of Stable Diffusion 1.5, 768, these are 9 kB for one vector."""
    trained(tiny, pictures, replace(FAST, output_dir=tmp_path), num_vectors=2)
    saved = load_file(tmp_path / "checkpoint-000003" / "state.safetensors")
    assert sum(tensor.numel() for tensor in saved.values()) == 3 * 2 * 16 + 1


def test_own_captions_take_the_word_in_place_of_the_initializer(tiny, pictures):
    method = TextualInversion(tiny, templates=("{text}", "{} , {background}"))
    assert fill_word(method.config, pictures[0]) == [
        f"a {TOKEN} on a red background",
        f"{TOKEN} , red",
    ]
    lost = Picture(image=pictures[0].image, text="personal things")
    method = TextualInversion(tiny, templates=("{text}",))
    with pytest.raises(ValueError, match="no place for"):
        fit(method, [lost])


def test_a_template_asking_for_what_a_picture_lacks_is_refused_in_words(tiny):
    bare = Picture(image=Image.new("RGB", (32, 32)))
    method = TextualInversion(tiny, templates=("{} with {hair}",))
    with pytest.raises(ValueError, match='has no "hair"'):
        fit(method, [bare])


def test_templates_are_many_different_and_hold_the_word_once():
    assert len(set(OBJECT_TEMPLATES)) == 27
    for template in (*OBJECT_TEMPLATES, *STYLE_TEMPLATES):
        assert fill(template, Picture(image=None), TOKEN).count(TOKEN) == 1


@pytest.mark.parametrize(
    ("caption", "word", "expected"),
    [
        ("笑顔の人、黄色い背景", "人", f"笑顔の{TOKEN}、黄色い背景"),  # no space marks a word there
        ("A Person, smiling", "person", f"A {TOKEN}, smiling"),
        ("a personal person", "person", f"a personal {TOKEN}"),
        (r"a per\son", r"per\son", f"a {TOKEN}"),
    ],
)
def test_a_captions_word_is_found_in_every_script_and_in_capitals(caption, word, expected):
    assert word_pattern(word).sub(lambda _: TOKEN, caption, 1) == expected


@pytest.mark.parametrize("token", [r"<my\cat>", '<a"b\\n>', r"<\1>"])
def test_a_word_with_signs_of_python_is_taught_and_opened_by_the_cards_line(
    token, tiny, pictures, tmp_path
):
    captioned = [replace(picture, text="a person") for picture in pictures]
    method = trained(tiny, captioned, placeholder_token=token, templates=("{text}",))
    assert fill_word(method.config, captioned[0]) == [f"a {token}"]
    assert list(load_file(method.save(tmp_path / "learnt"))) == [token]
    text = card("learnt", {**method.record(), "base_model": "mini"})
    line = next(line for line in text.splitlines() if line.startswith("In diffusers"))
    nodes = ast.walk(ast.parse(line.split("`")[1]))
    assert token in [node.value for node in nodes if isinstance(node, ast.Constant)]


def test_a_word_that_no_text_encoder_would_read_is_refused_before_training(tiny, pictures):
    long = [replace(picture, text="a photo of " * 10 + TOKEN) for picture in pictures]
    with pytest.raises(ValueError, match="beyond the 24 tokens that are read"):
        next(fit(TextualInversion(tiny, templates=("{text}",)), long, FAST))
    with pytest.raises(ValueError, match="num_vectors is 23, and a prompt has room for 22"):
        TextualInversion(tiny, num_vectors=23)
    cut = TextualInversion(tiny, num_vectors=22, templates=("a {}",))
    with pytest.raises(ValueError, match="write it further to the front"):
        next(fit(cut, pictures, FAST))
    assert next(fit(TextualInversion(tiny, num_vectors=22, templates=("{}",)), pictures, FAST))
