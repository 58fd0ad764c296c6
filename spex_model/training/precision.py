"""The precision that training computes in on this CPU."""

import torch


def mixed_precision() -> torch.autocast:
    """Autocast to bfloat16 where the CPU has 512-bit vectors; elsewhere everything stays in float32.

    With 256-bit vectors bfloat16 is emulated, and a step of `train_vision` takes eight times as long as in float32.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.backends.cpu.get_cpu_capability().startswith("AVX512"))
