"""The compact index of digests behaves like a dict."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from prlm_bench.data.store._write import DigestIndex

# Few high words, so that different digests often share theirs.
DIGESTS = st.tuples(st.sampled_from([0, 1, 2**58, 2**63, 2**64 - 1]), st.integers(0, 6)).map(
    lambda words: words[0].to_bytes(8, "big") + words[1].to_bytes(8, "big")
)


@settings(deadline=None)
@given(st.lists(st.lists(DIGESTS, max_size=30), max_size=12), st.sampled_from([1, 8, 1 << 16]))
def test_index_agrees_with_a_dict(batches: list[list[bytes]], recent: int) -> None:
    model: dict[bytes, int] = {}
    index = DigestIndex(recent)
    for batch in batches:
        expected_new = []
        for place, key in enumerate(batch):
            if key not in model:
                model[key] = len(model)
                expected_new.append(place)
        numbers, new = index.assign(batch)
        assert numbers.tolist() == [model[key] for key in batch]
        assert new.tolist() == expected_new
        assert index.size == len(model)
