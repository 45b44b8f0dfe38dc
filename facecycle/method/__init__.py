"""FaceCycle itself: networks and the two cycles."""
