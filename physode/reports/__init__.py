"""Runs as one HTML page: the verdict first, then what was found, how well it fits, and how it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physode.optional_imports import import_when_used

if TYPE_CHECKING:
    from physode.reports.blocks import RunView
    from physode.reports.page import page, write_report
    from physode.reports.views import view_of

__all__ = ["RunView", "page", "view_of", "write_report"]

import_when_used(__name__, {"RunView": "blocks", "page": "page", "view_of": "views", "write_report": "page"})
