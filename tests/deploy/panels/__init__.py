"""``make panels``: pictures of the dashboards, of a real run, without Grafana."""
