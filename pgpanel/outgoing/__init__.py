"""What the panel sends to strangers: where it may go (`addresses`), and one POST that cannot be led elsewhere (`posting`)."""
