"""Webhooks: what their sender and their receivers share, and the rules of their URLs. Knows no AWS."""
