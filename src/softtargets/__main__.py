"""`python -m softtargets` is the command `softtargets`."""

from softtargets.cli import main

main()
