"""Plans a study as a tree, runs it, and keeps every sample the moment it is finished."""
