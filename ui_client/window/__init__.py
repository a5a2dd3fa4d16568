"""The Kivy window.

Read `model` (what it shows, without Kivy), `session` (what it hears), `widgets`, `app`; `environment` is set before Kivy is imported.
"""
