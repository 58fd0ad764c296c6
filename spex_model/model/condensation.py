"""Token context condensation (paper, section III-C): what was said becomes a prompt of a few tokens."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REPLY_STATES = ("pooled", "last")


class TokenContextCondensation(nn.Module):
    """Hidden states of the generated tokens -> condensed prompt tokens of the mask decoder.

    The states (post-norm, last layer, at each generated token) are average-pooled along the reply to
    `num_tokens` segments, so that a reply of any length gives the same number of prompts, then mapped
    by an MLP into the decoder's width. With `reply_states` "last" nothing is pooled: the states of the last
    `num_tokens` tokens are taken as they are (of a shorter reply the first one several times).
    """

    def __init__(
        self, language_hidden_size: int, decoder_width: int, num_tokens: int, reply_states: str = "pooled"
    ) -> None:
        super().__init__()
        if reply_states not in REPLY_STATES:
            raise ValueError(f"reply_states is {' or '.join(REPLY_STATES)}, not {reply_states}.")
        self.num_tokens = num_tokens
        self.reply_states = reply_states
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
        return self.mlp(self.norm(torch.stack([self._take(states.float()) for states in hidden_states])))

    def _take(self, states: Tensor) -> Tensor:
        """What is kept of one reply: (T, language_hidden_size) -> (num_tokens, language_hidden_size)."""
        if self.reply_states == "last":
            return states[[max(number, -len(states)) for number in range(-self.num_tokens, 0)]]
        return F.adaptive_avg_pool1d(states.T, self.num_tokens).T
