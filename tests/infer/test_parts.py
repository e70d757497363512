from livespot.infer.parts import parts


def test_a_batch_is_the_smallest_that_holds_the_clips() -> None:
    assert list(parts(1, (1, 8, 64))) == [(slice(0, 1), 1)]
    assert list(parts(2, (1, 8, 64))) == [(slice(0, 2), 8)]
    assert list(parts(64, (1, 8, 64))) == [(slice(0, 64), 64)]
    assert list(parts(150, (1, 8, 64))) == [(slice(0, 64), 64), (slice(64, 128), 64), (slice(128, 150), 64)]
    assert list(parts(3, (1,))) == [(slice(0, 1), 1), (slice(1, 2), 1), (slice(2, 3), 1)]
