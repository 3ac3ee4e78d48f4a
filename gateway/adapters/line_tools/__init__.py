"""Tools for one line by hand: read, scan, doctor, capture and replay, and the acceptance bench.

They talk to a transport directly where every byte and its moment count; `read` uses the driver like the gateway itself.
"""
