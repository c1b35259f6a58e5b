"""A run as one page of HTML that explains itself: nothing is fetched, nothing runs, everything shown is escaped."""

from core.interop.report.facts import Ancestor, Facts
from core.interop.report.page import report_html

__all__ = ["Ancestor", "Facts", "report_html"]
