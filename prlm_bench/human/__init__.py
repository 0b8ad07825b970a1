"""Human evaluation: blind pairs of answers for people to judge, a form for it, and what the judgements say.

`export` chooses and blinds, `files` and `page` hand out, `judgements` takes back, and `report` puts together
agreement, preference, strength and the agreement of metrics with people.
"""
