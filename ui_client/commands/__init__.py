"""The `batos` command's groups, one module each. Every module has `register(app)`; nothing else is public."""
