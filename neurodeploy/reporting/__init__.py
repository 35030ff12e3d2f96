"""What people look at: parity between engines, and pictures."""
