"""The plugin host: finds plugins, loads them one by one, and creates the components that they register."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
