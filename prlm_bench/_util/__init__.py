"""Small shared helpers: files, cache folder, assets, tables, progress bars."""
