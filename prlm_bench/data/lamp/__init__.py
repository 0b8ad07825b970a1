"""LaMP's files: where they are, what may be wrong with them, and their way into a store."""
