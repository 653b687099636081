"""What is shown of a recording, as values: points, level of detail, cameras, display settings, snapshots."""
