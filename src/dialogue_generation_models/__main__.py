"""`python -m dialogue_generation_models` is `dgm`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
