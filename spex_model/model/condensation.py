"""Token context condensation (paper, section III-C): what was said becomes a prompt of a few tokens."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TokenContextCondensation(nn.Module):
    """Hidden states of the generated tokens -> condensed prompt tokens of the mask decoder.

    The states (post-norm, last layer, at each generated token) are average-pooled along the reply to
    `num_tokens` segments, so that a reply of any length gives the same number of prompts, then mapped
    by an MLP into the decoder's width.
    """

    def __init__(self, language_hidden_size: int, decoder_width: int, num_tokens: int) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.norm = nn.LayerNorm(language_hidden_size)
        self.mlp = nn.Sequential(
            nn.Linear(language_hidden_size, decoder_width),
            nn.GELU(),
            nn.Linear(decoder_width, decoder_width),
        )

    def forward(self, hidden_states: list[Tensor]) -> Tensor:
        """Condense a batch of replies: list of B tensors (T_i, language_hidden_size) -> (B, num_tokens, decoder_width)."""
        if any(states.ndim != 2 or states.shape[0] == 0 for states in hidden_states):
            raise ValueError("Condensation needs at least one generated token a reply, each reply as (tokens, width).")
        pooled = [F.adaptive_avg_pool1d(states.float().T, self.num_tokens).T for states in hidden_states]
        return self.mlp(self.norm(torch.stack(pooled)))
