"""`pgpanel`: the panel from a shell, over its REST API alone. It imports nothing of the panel: click and requests are enough."""
