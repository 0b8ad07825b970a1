"""Plans and runs a grid of methods; every sample is stored as soon as it is finished."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
