"""Who asks and what they may do: signed tickets and their keys."""
