"""The torii command: starts either door, or works on the stores."""
