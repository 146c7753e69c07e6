"""What the fault tests share."""

from collections.abc import Iterator

import pytest

from faults.zygote import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    server = Zygote(tmp_path_factory.mktemp("zygote"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def s3_zygote(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Begun behind the server, whose address is in the environment by then."""
    server = Zygote(tmp_path_factory.mktemp("zygote"))
    yield server
    server.close()
