"""The chains that this project ships: a package of chains as any other."""
