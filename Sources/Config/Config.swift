// Sources of Config.
