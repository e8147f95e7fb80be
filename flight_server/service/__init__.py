"""What every door shares: admission and limits, the store that is open, start and stop of the process."""
