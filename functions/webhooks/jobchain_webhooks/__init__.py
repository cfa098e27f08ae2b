"""The delivery function: sends events to the servers of tenants."""
