"""Random changes to whole batches of images as stored, each image its own: where pixels come from, colours, policies."""
