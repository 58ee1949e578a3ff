"""What others promise in documents, shown by running: every kind of job on every version, layout and login (docs/proof.md)."""
