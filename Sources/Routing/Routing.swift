// Sources of Routing.
