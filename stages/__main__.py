import sys

from stages.start import start

sys.exit(start(["stages", *sys.argv[1:]]))
