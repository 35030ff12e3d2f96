"""What lies on disk between two commands: run folders, deployments and traces."""
