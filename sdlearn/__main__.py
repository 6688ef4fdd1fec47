"""`python -m sdlearn` is the program `sdlearn`."""

import sys

from sdlearn.cli import main

sys.exit(main())
