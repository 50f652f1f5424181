"""The use cases, one verb a file: pull, push, and the cycle that runs them."""
