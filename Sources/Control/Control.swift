// Sources of Control.
