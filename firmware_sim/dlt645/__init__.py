"""A DL/T 645 meter's firmware over one physical state: what can be read, written, ordered, frozen and bought."""
