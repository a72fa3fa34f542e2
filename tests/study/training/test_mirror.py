import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hitfinder.study.training.mirror import mirrored


@pytest.fixture
def water():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.poisson(40.0, (3, 1, 20, 30)).astype("u2"))


def test_mirrored_frames_take_their_label_map_along(water):
    batch = {"overlay": water, "target": water.clone(), "clen": torch.arange(3.0)}
    torch.manual_seed(3)
    seen = set()
    for _ in range(20):
        turned = mirrored(batch)
        assert torch.equal(turned["overlay"], turned["target"])
        assert torch.equal(turned["clen"], batch["clen"])
        for was, now in zip(water.float(), turned["overlay"], strict=True):
            ways = {
                (ss, fs): was.flip([axis for axis, on in ((1, ss), (2, fs)) if on])
                for ss in (False, True)
                for fs in (False, True)
            }
            seen.update(way for way, image in ways.items() if torch.equal(image, now))
    assert len(seen) == 4
