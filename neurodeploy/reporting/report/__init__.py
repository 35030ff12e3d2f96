"""The report of a deployment: one HTML file that needs nothing else."""

from neurodeploy.reporting.report.page import write_report

__all__ = ["write_report"]
