"""What is known of a run: counts, classification figures, gates, and the metrics JSON."""
