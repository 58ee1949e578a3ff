"""What the panel costs, measured against the raw tools on the same hosts in the same run: `make bench`."""
