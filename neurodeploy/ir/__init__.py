"""The two network types and what they are made of."""
