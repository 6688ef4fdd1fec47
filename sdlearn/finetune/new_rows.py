"""A vocabulary of which only the new words train."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F


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


def initial_row(tokenizer: Any, table: torch.Tensor, word: str | None) -> torch.Tensor:
    """Return the row of a known word, or the mean of all where `word` is None: (1, D).

    Raises ValueError for a word of several tokens, naming them.
    """
    if word is None:
        return table.float().mean(dim=0, keepdim=True)
    ids = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) != 1:
        pieces = " + ".join(tokenizer.tokenize(word)) or "nothing"
        raise ValueError(
            f'the initializer_token "{word}" is {len(ids)} tokens ({pieces}): give a word that is '
            "one, such as person, or none"
        )
    return table[ids].float()
