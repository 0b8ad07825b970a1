"""Servers, models, results and pages that several tests share."""
