"""What a plan costs on a device: time, energy, memory."""
