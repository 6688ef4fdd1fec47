"""A vocabulary of which only the new words train."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from sdlearn.models.prompts import expand_prompt


class NewRows(torch.nn.Module):
    """A token embedding whose first rows are frozen and shared, and whose last rows train.

    Only `rows` (n, D) is trained, so the other rows cannot move, and gradient and optimizer cost
    n rows instead of the whole table.
    """

    def __init__(self, table: torch.nn.Parameter, rows: torch.Tensor, first_id: int) -> None:
        super().__init__()
        self.table = table  # (V, D), frozen
        self.rows = torch.nn.Parameter(rows.float().clone())
        self.first_id = first_id

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(B, L) -> (B, L, D)."""
        is_new = input_ids >= self.first_id
        old = F.embedding(input_ids.masked_fill(is_new, 0), self.table)
        new = F.embedding((input_ids - self.first_id).clamp(min=0), self.rows).to(old.dtype)
        return torch.where(is_new.unsqueeze(-1), new, old)


def initial_rows(
    tokenizer: Any, table: torch.Tensor, words: str | None, num_vectors: int
) -> torch.Tensor:
    """Return the rows of the tokens of known words in turn: (num_vectors, D), float32.

    They begin anew where there are fewer tokens than vectors. The mean of the whole vocabulary is
    taken where `words` is None. Raises ValueError for more tokens than vectors, naming them.
    """
    if words is None:
        return table.float().mean(dim=0, keepdim=True).repeat(num_vectors, 1)
    ids = tokenizer.encode(expand_prompt(words, tokenizer), add_special_tokens=False)
    if not 0 < len(ids) <= num_vectors:
        pieces = " + ".join(tokenizer.convert_ids_to_tokens(ids)) or "nothing"
        raise ValueError(
            f'the initializer_token "{words}" is {len(ids)} tokens ({pieces}) and num_vectors is '
            f"{num_vectors}: give as many vectors, or a word that is one token, such as person"
        )
    return table[[ids[i % len(ids)] for i in range(num_vectors)]].float()
