"""DL/T 645-2007 and -1997: bytes to meaning and back, for the asking side (master) and the answering side (slave)."""
