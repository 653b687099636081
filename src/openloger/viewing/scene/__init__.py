"""The displayed scene as values: points, level of detail, cameras, display settings, snapshots."""
