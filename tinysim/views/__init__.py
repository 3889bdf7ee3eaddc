"""Views of Results: the terminal table, Markdown, CSV, a pandas DataFrame, an HTML page. A view computes nothing."""

from tinysim.views.frame import to_csv, to_dataframe, to_markdown
from tinysim.views.page import to_html
from tinysim.views.table import show_layers, show_region, show_results

__all__ = ["show_layers", "show_region", "show_results", "to_csv", "to_dataframe", "to_html", "to_markdown"]
