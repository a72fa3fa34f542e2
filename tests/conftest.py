from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    """Folder of reference data kept beside the project; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("reference data are not beside the project")
    return SHARED
