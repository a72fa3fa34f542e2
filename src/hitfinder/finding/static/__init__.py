"""What does not move in a run: places that are bright in frames that otherwise share nothing."""
