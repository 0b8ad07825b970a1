"""Plans a study as a tree, runs it, and keeps every sample the moment it is finished."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
