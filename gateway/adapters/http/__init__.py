"""HTTP listeners: the bank, the operator's API with health and metrics, and the static page over it."""
