"""Fuzzing of everything that reads bytes from outside. Corpus and targets are the same for `make test` and `make fuzz`."""
