"""A run as one page of HTML that explains itself: nothing is fetched, nothing runs, everything shown is escaped."""

from core.import_export.report.facts import Ancestor, Facts
from core.import_export.report.page import report_html

__all__ = ["Ancestor", "Facts", "report_html"]
