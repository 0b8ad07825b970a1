"""The store of imported data and what it takes to fill it: streamed JSON, hashes of files, folders that are whole."""
