"""Other people's DL/T 645 libraries, each in a venv of its own: with our meters, under our master, and their faults."""
