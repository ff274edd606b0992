"""The images by name, as deploy/Dockerfile and deploy/compose.yaml have them: tests/unit/test_compose.py compares."""

PYTHON = "python:3.11-slim-bookworm"
KAFKA = "apache/kafka:4.1.1"
POSTGRES = "postgres:18"
PROMETHEUS = "prom/prometheus:v3.5.0"
GRAFANA = "grafana/grafana:12.1.1"
