"""The embedded runtime that the served one is compared with."""

from collections.abc import Iterator

import pytest
import torch

from spex_model.model.weights import build_checkpoint
from spex_model.serving import Runtime, load_runtime


@pytest.fixture(scope="module")
def embedded() -> Iterator[Runtime]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # beside vLLM more threads only wait for each other
    yield load_runtime("embedded", checkpoint=build_checkpoint())
    torch.set_num_threads(threads)
