"""Deployed integers as plain ONNX, for toolchains that read it."""
