"""The sweeper function: sends the message of each due job again."""
