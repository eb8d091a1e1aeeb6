"""`python -m famulus`"""

import sys

from famulus.cli import main

if __name__ == "__main__":
    sys.exit(main())
