"""The embedded stack: the emulator, the deployer and the offline model."""
