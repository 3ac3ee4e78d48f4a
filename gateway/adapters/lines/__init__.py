"""Lines: transports that carry bytes, and the driver that moves one exchange at a time over any of them."""
