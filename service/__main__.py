"""``python -m service``: one service process."""

import sys

from service import server

if __name__ == "__main__":
    sys.exit(server.main())
