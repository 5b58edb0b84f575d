"""How fast a recipe trains on the device at hand: whole, by parts of the step, and beside plain loops."""
