"""``python -m cli``: the ``torii`` command without an installed script; ``torii up`` starts its parts by it."""

from cli.main import main

if __name__ == "__main__":
    main()
