"""From a source to a recording: the main job. `openloger.reconstruct` is `pipeline.reconstruct.reconstruct`."""
