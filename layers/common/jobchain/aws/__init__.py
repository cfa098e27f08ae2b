"""What knows AWS: the table, the queues, and what is stored in them."""
