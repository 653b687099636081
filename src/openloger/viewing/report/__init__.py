"""The one-page report: preview, path from above and from the side, depth, drift and speed."""
