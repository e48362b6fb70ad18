"""`python -m emulator`: the stand-in PixelDojo as a process."""

import sys

from emulator import options, server

if __name__ == "__main__":
    sys.exit(server.run(options.parse(sys.argv[1:])))
