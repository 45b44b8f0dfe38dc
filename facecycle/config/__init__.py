"""What a run is: its settings, and the layers that they come from."""
