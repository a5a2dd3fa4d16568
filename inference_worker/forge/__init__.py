"""The forge: makes training tasks, trains adapters with PEFT, and scores them by what their methods do."""
