"""docs/uploads.md shows a catalogue that works as it stands, and says what is so."""

import re
from pathlib import Path

from gateway.images import catalogue, parameters
from gateway.images.model import references
from gateway.jobs import intake, lending, respite, seats

PAGE = Path(__file__).resolve().parents[2] / "docs" / "uploads.md"


def test_the_catalogue_of_the_page_can_be_read(tmp_path: Path) -> None:
    """The page's file switches a model on, with the parameter that its order names."""
    text = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(text) == 1
    file = tmp_path / "catalogue.toml"
    file.write_text(text[0])
    model = catalogue.load(file).model("p-image-edit")
    asked = parameters.canonical(model, {"prompt": "the same in snow", "images": ["upload_1"]})
    assert references(model, asked) == [("images[0]", "upload_1")]
    assert model.reference_megapixels == 4


def test_the_page_knows_the_bounds() -> None:
    """The numbers on the page are the code's."""
    page = " ".join(PAGE.read_text().split())
    assert f"{intake.MAX_BYTES // 2**20} MiB" in page
    assert f"{intake.MOST:,} uploads" in page
    assert all(media_type in page for media_type in intake.TYPES)
    assert (seats.AT_ONCE, seats.AT_ONCE_OF_A_TEAM, lending.PLACES) == (8, 4, 2)
    assert f"within {seats.WAIT_S:g} s" in page
    assert f"for {respite.REST_S:g} s" in page
