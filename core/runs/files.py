"""Where `core.files` was; `explorer.service` still asks here."""

from core.files import write_json

__all__ = ["write_json"]
