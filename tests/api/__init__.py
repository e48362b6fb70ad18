"""The front door over TCP: a real server, real stores, and answers held to the OpenAPI document."""
