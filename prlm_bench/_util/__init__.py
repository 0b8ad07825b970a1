"""Helpers without a subject of their own: files, cache folder, assets, silence."""
