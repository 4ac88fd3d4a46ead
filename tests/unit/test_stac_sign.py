"""Addresses that can be read now, against a token service on this machine."""

import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler

import pytest
import stamina

from made_server import Silent, serving
from rockglacier_stac.errors import ServiceError
from rockglacier_stac.sign import Tokens, sign, unsigned

BLOB = "https://acc.blob.core.windows.net/box/a/b.tif"


@pytest.fixture(autouse=True)
def no_waiting():
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture
def service():
    """A token service: `answers` are (status, minutes or content), the last one for ever."""
    answers, asked = [(200, 60)], []

    class Handler(Silent, BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, minutes = answers[min(len(asked), len(answers)) - 1]
            valid = 60 if isinstance(minutes, bytes) else minutes
            end = datetime.now(UTC) + timedelta(minutes=valid)
            body = {"token": f"sig={len(asked)}", "msft:expiry": end.isoformat()}
            said = minutes if isinstance(minutes, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(said)

    with serving(Handler) as url:
        yield f"{url}/token", answers, asked


def test_token_is_asked_for_once_a_container(service):
    url, _, asked = service
    tokens = Tokens(url)
    assert tokens.sign(BLOB) == f"{BLOB}?sig=1"
    assert tokens.sign(BLOB.replace("b.tif", "c.tif")).endswith("c.tif?sig=1")
    assert asked == ["/token/acc/box"]


def test_token_about_to_end_is_replaced(service):
    url, answers, _ = service
    answers[:] = [(200, 4), (200, 60)]
    tokens = Tokens(url)
    assert [tokens.sign(BLOB)[-5:], tokens.sign(BLOB)[-5:]] == ["sig=1", "sig=2"]


def test_old_token_of_an_item_is_replaced(service):
    assert Tokens(service[0]).sign(f"{BLOB}?sig=old") == f"{BLOB}?sig=1"


def test_busy_service_is_asked_again(service):
    url, answers, asked = service
    answers[:] = [(429, 0), (503, 0), (200, 60)]
    assert Tokens(url).sign(BLOB) == f"{BLOB}?sig=3"
    assert len(asked) == 3


def test_unknown_container_is_a_public_one(service):
    service[1][:] = [(404, 0)]
    assert Tokens(service[0]).sign(BLOB) == BLOB


def test_service_that_stays_down_is_named(service):
    service[1][:] = [(503, 0)]
    with pytest.raises(ServiceError, match="no token for 'acc/box'") as caught:
        Tokens(service[0]).sign(BLOB)
    assert "again later" in caught.value.todo


@pytest.mark.parametrize(
    "content",
    [b"<html>sign in</html>", b'{"token": "sig=1"}', b'{"msft:expiry": NaN}', b"[]", b'{"tok'],
)
def test_an_answer_that_is_no_token_is_named(service, content):
    service[1][:] = [(200, content)]
    with pytest.raises(ServiceError, match="no token for 'acc/box'"):
        Tokens(service[0]).sign(BLOB)


def test_a_token_that_had_ended_when_it_came_is_asked_for_again(service):
    service[1][:] = [(200, -30), (200, 60)]
    tokens = Tokens(service[0])
    assert [tokens.sign(BLOB)[-5:] for _ in range(3)] == ["sig=1", "sig=2", "sig=2"]


@pytest.mark.parametrize("href", ["b.tif", "/data/b.tif", "https://x.org/b.tif", "s3://mine/b.tif"])
def test_other_addresses_stay_as_they_are(href):
    assert sign(href) == href


def test_open_bucket_is_read_over_https():
    assert sign("s3://copernicus-dem-30m/N/d.tif") == (
        "https://copernicus-dem-30m.s3.amazonaws.com/N/d.tif"
    )


def test_stored_address_has_no_token():
    assert unsigned(f"{BLOB}?sig=x") == BLOB
    assert unsigned("https://x.org/b.tif?version=2") == "https://x.org/b.tif?version=2"
