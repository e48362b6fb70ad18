"""A deploy rehearsed under load: each part is restarted in turn, two releases side by side, and no request fails."""
