"""`python -m loopwright`."""

from loopwright.app.main import main

if __name__ == "__main__":
    main()
