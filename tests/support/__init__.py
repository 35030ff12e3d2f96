"""What several tests share; pytest puts ``tests/`` on Python's path, so it is ``support`` here."""
