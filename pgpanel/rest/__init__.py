"""What every room's API endpoints stand on: who asks, what a rule says, errors, pages of a list, calls that count once."""
