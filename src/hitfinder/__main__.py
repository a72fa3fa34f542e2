"""`python -m hitfinder`."""

from hitfinder.cli.main import main

if __name__ == "__main__":
    main()
