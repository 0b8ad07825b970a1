"""The plugins that ship with prlm-bench, one folder each, written against the same public API as any other."""
