import pytest

from .twin_host import Host


@pytest.fixture
def host() -> Host:
    return Host()
