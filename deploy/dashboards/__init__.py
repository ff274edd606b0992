"""Grafana's dashboards, as tables of panels: `python -m deploy.dashboards` writes deploy/grafana/dashboards/*.json.

Grafana's own format takes forty lines for a panel, in which what it asks and what it says are hard to find.
"""
