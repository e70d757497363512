"""python -m livespot."""

from livespot.cli import main

main()
