"""What every process stands on: settings, logs, metrics, confinement, and supervisord's configuration.

Imports none of the four product packages; each of them may import it (`docs/decisions/0001-deploy-is-the-floor.md`).
"""
