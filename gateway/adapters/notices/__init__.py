"""Channels that carry notices to customers, and the texts that they carry."""
