"""Human evaluation: blind pairs of answers for annotators, a form to judge them, and the analysis of judgements.

`_export` samples and blinds pairs, `_files` and `_page` write them, `_judgements` reads judgements, and `_report`
computes agreement, win rates, strengths, and the agreement of metrics with annotators.
"""
