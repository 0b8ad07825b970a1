"""Human evaluation: blind pairs of answers for annotators, a form to judge them, and the analysis of judgements."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
