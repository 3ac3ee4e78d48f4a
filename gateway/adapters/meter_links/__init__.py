"""Meter links: a job for one meter becomes exchanges by its profile, and what came of them an outcome."""
