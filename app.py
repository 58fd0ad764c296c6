"""SPEX chat in a browser: settings, model, page. `python app.py`; also what a Hugging Face Space runs."""

from __future__ import annotations

import logging
import os
import sys

from chat_app.page.engine import Engine
from chat_app.page.ui import build_page, serve
from chat_app.settings import Settings


def read_settings() -> Settings:
    """The settings; inside a Space the page has to listen on all addresses, since a proxy stands before it."""
    return Settings(host="0.0.0.0") if os.environ.get("SPACE_ID") else Settings()


def main() -> None:
    """Serve the page at once and load the model behind it."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = read_settings()
    engine = Engine(settings)
    engine.start()
    try:
        serve(build_page(settings, engine), settings)
    except OSError as error:
        logging.getLogger(__name__).info("the page can't be served", exc_info=error)
        sys.exit(f"Port {settings.port} on {settings.host} can't be used; choose another: SPEX_PORT=7861 python app.py")
    finally:
        engine.close()


if __name__ == "__main__":
    main()
