"""Sources of frames: webcams, streams, files, folders of images, the virtual camera."""
