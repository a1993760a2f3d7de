// Sources of DataPlane.
