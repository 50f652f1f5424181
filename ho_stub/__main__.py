"""`python -m ho_stub` is `ho-stub`."""

from ho_stub.cli import main

if __name__ == "__main__":
    main()
