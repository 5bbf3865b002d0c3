"""`python -m mpcinfer ...` is `mpcinfer ...`."""

from mpcinfer.cli.main import main

if __name__ == "__main__":
    main()
