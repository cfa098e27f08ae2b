"""The dashboard's header says which model answers."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from local.settings import Settings
from local.stack import EmbeddedStack
from tests.browser.conftest import Visit

OFFLINE = "The offline model answers: it copies sentences by rules, and is no GPT."
LONG = "us.provider.a-model-of-a-name-as-long-as-a-deployment-takes-it"


@pytest.fixture(scope="module", params=[("", OFFLINE), (LONG, LONG)], ids=["offline", "another"])
def told(request: pytest.FixtureRequest) -> tuple[str, str]:
    """What OPENAI_MODEL is, and what the page says."""
    names: tuple[str, str] = request.param
    return names


@pytest.fixture(scope="module")
def stack(chromium: str, told: tuple[str, str]) -> Iterator[EmbeddedStack]:
    # No job asks the server.
    settings = Settings(openai_base_url="http://127.0.0.1:9/v1", openai_model=told[0]) if told[0] else Settings()
    with EmbeddedStack.start(settings) as stack:
        yield stack


@pytest.mark.parametrize("width", [360, 1440])
def test_the_header_names_the_model_of_the_deployment_and_fits(
    browser: Browser, stack: EmbeddedStack, told: tuple[str, str], width: int
) -> None:
    with browser.new_context(viewport={"width": width, "height": 740}) as context:
        visit = Visit(context.new_page(), stack.api_url)
        page = visit.open()

        expect(page.locator("header #model")).to_have_text(told[1])
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        assert visit.width == width
        assert visit.faults == []
