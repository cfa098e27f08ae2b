"""A model that needs no key and no network: it extracts from the text it is given, and invents nothing."""
