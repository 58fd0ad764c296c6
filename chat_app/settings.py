"""Everything that can be configured, read once from `SPEX_*` variables or given as arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_data_dir() -> Path:
    return Path.home() / ".local" / "share" / "spex-chat"


def _default_cache_dir() -> Path:
    return Path.home() / ".cache" / "spex-chat"


class Settings(BaseSettings):
    """Settings of the chat; `SPEX_MAX_MESSAGE_CHARS=500` sets `max_message_chars`.

    >>> Settings(data_dir=tmp_path, runtime="embedded")
    """

    model_config = SettingsConfigDict(env_prefix="SPEX_", frozen=True, extra="ignore")

    data_dir: Path = Field(
        default_factory=_default_data_dir, description="Sessions, layers and the checkpoint database"
    )
    cache_dir: Path = Field(default_factory=_default_cache_dir, description="The merged model checkpoint")
    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL for conversations (postgresql://…); else SQLite in the data folder"
    )
    runtime: Literal["auto", "served", "embedded"] = Field(default="auto", description="Where the model runs")
    checkpoint: Path | None = Field(default=None, description="A built checkpoint directory; else built in the cache")
    vllm_url: str | None = Field(default=None, description="Base address of the vLLM server")
    mask_url: str | None = Field(default=None, description="Base address of the mask service")
    device: str = Field(default="cpu", description="Device of the embedded runtime")
    request_timeout_s: float = Field(default=120.0, gt=0, description="Longest wait for one model call")
    prompts_dir: Path | None = Field(default=None, description="Prompt files; else those that ship with the project")
    use_rules: bool = Field(default=True, description="Read plain commands by rules, without the model")
    use_model_planner: bool = Field(default=True, description="Let the model read what the rules can't")
    use_gist: bool = Field(default=True, description="Hold the model's plans to a second reader's gist of the message")
    max_message_chars: int = Field(default=2_000, gt=0, description="Longer messages are declined")
    max_plan_tokens: int = Field(default=160, gt=0, description="Longest plan of the language model")
    max_answer_tokens: int = Field(default=140, gt=0, description="Longest description of the language model")
    max_prompt_regions: int = Field(default=3, gt=0, description="Regions listed in the description prompt")
    max_undo: int = Field(default=50, gt=0, description="Snapshots kept for undo")
    max_pixels: int = Field(default=64_000_000, gt=0, description="Larger images are refused")
    max_upload_mb: int = Field(default=1_024, gt=0, description="Largest upload")
    memory_mb: int = Field(
        default=1_024, gt=0, description="Masks and logits held in memory before they live on disk only"
    )
    host: str = Field(default="127.0.0.1", description="Address the page listens on")
    port: int = Field(default=7860, gt=0, lt=65_536, description="Port the page listens on")
