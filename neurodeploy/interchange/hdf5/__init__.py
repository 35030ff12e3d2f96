"""HDF5 files from anywhere, read without trusting them."""
