"""The network of a NIR file run by Norse: the only room that imports it.

Nothing here is shared with our own import and our own float engine, which is the point: nodes are
read from the file one by one, neurons step in Norse's functions, linear nodes in PyTorch's.
Importing this package or ``compat`` loads nothing of Norse.
"""
