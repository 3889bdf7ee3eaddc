"""Views of Results: the terminal table, Markdown, CSV and a pandas DataFrame. A view computes nothing."""

from tinysim.views.frame import to_csv, to_dataframe, to_markdown
from tinysim.views.table import show_layers, show_region, show_results

__all__ = ["show_layers", "show_region", "show_results", "to_csv", "to_dataframe", "to_markdown"]
