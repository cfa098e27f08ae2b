"""The sweeper function: sends again what nobody looked at in time."""
