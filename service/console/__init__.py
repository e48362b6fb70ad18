"""Pages for people, under ``/console``: rendered here, driven by htmx, over the same functions as the API's routes."""
