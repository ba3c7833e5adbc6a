"""What may differ between deployments: the settings, the only reader of the environment, and their YAML defaults."""
