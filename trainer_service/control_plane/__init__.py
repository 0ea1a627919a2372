"""What takes, checks, schedules and steers runs; it needs no torch."""
