"""``python -m service``: one service process, alone or, as ``crew`` starts it, one of several."""

import sys

from service import member, server

if __name__ == "__main__":
    sys.exit(member.main(sys.argv[1:]) if sys.argv[1:] else server.main())
