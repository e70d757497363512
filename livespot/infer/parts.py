"""Any number of clips on engines of fixed batch sizes."""

from collections.abc import Iterator, Sequence


def parts(clips: int, batches: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """How so many clips are scored with `batches`, which rise: each slice, and the smallest batch that holds it.

    150 clips with batches of 1, 8, 64:   |--- 64 ---|--- 64 ---|-- 22 of 64 --|
    """
    for start in range(0, clips, batches[-1]):
        stop = min(start + batches[-1], clips)
        yield slice(start, stop), next(batch for batch in batches if batch >= stop - start)
