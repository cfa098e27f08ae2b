"""The chains as tools for agents: the Model Context Protocol over `POST /mcp`, without a session.

https://modelcontextprotocol.io/specification/2026-07-28
"""
