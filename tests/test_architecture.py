"""The import arrows of the house point down, and heavy libraries stay behind their doors."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "spex_model.imaging": {"spex_model.imaging"},
    "spex_model.model": {"spex_model.imaging", "spex_model.model"},
    "spex_model.training": {"spex_model.imaging", "spex_model.model", "spex_model.training"},
    "spex_model.serving": {"spex_model.imaging", "spex_model.model", "spex_model.serving"},
    "chat_app": {"spex_model.imaging", "spex_model.serving", "chat_app"},
}
ABOVE_THE_GRAPH = {
    "chat_app/measuring/evaluate.py": "spex_model.training",
    "chat_app/measuring/evaluate_descriptions.py": "spex_model.training",
}
"""What measures whole conversations may draw its scenes from the training package."""
SHARED_WORDS = ("spex_model.model.planning_prompt", "spex_model.model.gist")
"""The planning prompt's words and the gist of messages, light, which training and the chat use alike."""
LIGHT_SERVING = ("protocol", "errors", "client")
"""Modules of the serving package that the chat imports: never torch, never the model."""


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2]) if module.startswith("spex_model") else "chat_app"


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_down(package):
    for path in (ROOT / package.replace(".", "/")).rglob("*.py"):
        allowed = ALLOWED[package] | {ABOVE_THE_GRAPH.get(path.relative_to(ROOT).as_posix(), package)}
        ours = {name for name in imports_of(path) if name.startswith(("spex_model.", "chat_app."))}
        wrong = {name for name in ours if package_of(name) not in allowed and not name.startswith(SHARED_WORDS)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_imaging_and_the_chat_know_no_torch():
    for folder in ("spex_model/imaging", "chat_app"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "torch" not in {name.split(".")[0] for name in imports_of(path)}, path


@pytest.mark.parametrize("module", ["chat_app.graph", *(f"spex_model.serving.{name}" for name in LIGHT_SERVING)])
def test_importing_the_light_side_loads_neither_torch_nor_vllm(module):
    code = f"import sys, {module}; print([name for name in ('torch', 'vllm', 'transformers', 'gradio') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
