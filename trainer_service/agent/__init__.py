"""What executes runs on a machine: devices, workers, and the scheduler that starts them."""
