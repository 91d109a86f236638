"""The async client. Made by scripts/make_async.py. Do not edit."""
