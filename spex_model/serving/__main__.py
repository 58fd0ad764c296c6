"""`python -m spex_model.serving`: vLLM, the mask service and the page, until Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from spex_model.serving.errors import StartupError
from spex_model.serving.programs import ServeSettings
from spex_model.serving.supervisor import Supervisor

log = logging.getLogger("spex_model.serving")


def read_settings(argv: Sequence[str] | None) -> ServeSettings:
    """Settings from `SPEX_*` variables, then from options. Exits with code 2 on a bad one."""
    parser = argparse.ArgumentParser(prog="python -m spex_model.serving", description=__doc__)
    fields = ServeSettings.model_fields
    parser.add_argument("--no-ui", dest="ui", action="store_false", help="models only", default=None)
    for name in ("checkpoint", "cache_dir", "device", "dtype", "vllm_port", "mask_port", "host", "port"):
        kind = Path if name in ("checkpoint", "cache_dir") else int if name.endswith("port") else str
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=fields[name].description)
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    try:
        return ServeSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        parser.error(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def main(argv: Sequence[str] | None = None) -> int:
    """Start everything, wait for SIGINT or SIGTERM, stop everything."""
    settings = read_settings(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    supervisor = Supervisor(settings)
    asked: list[int] = []

    def end(signal_number: int, _: object) -> None:
        asked.append(signal_number)
        supervisor.request_stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        with supervisor as stack:
            log.info("open %s", stack.ui_url if settings.ui else f"{stack.vllm_url} and {stack.mask_url}")
            stack.wait()
            log.info("stopping")
    except StartupError as error:
        if asked:
            return 0
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
