"""Measurements that a user can repeat: ratios within one run, each row in a process of its own."""
