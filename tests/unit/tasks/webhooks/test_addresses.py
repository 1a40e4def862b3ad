"""Which addresses a delivery may go to."""

import pytest

from tasks.webhooks.addresses import NotAllowed, PublicOnly, is_literal, is_public


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::8.8.8.8"])
def test_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2002:c0a8:101::",
        "not an address",
        "",
    ],
)
def test_what_only_this_network_reaches_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", ["127.1", "0x7f.0.0.1", "2130706433", "localhost"])
async def test_other_spellings_are_resolved_and_refused(host: str) -> None:
    assert not is_literal(host)
    resolver = PublicOnly()
    with pytest.raises((NotAllowed, OSError)):
        await resolver.resolve(host, 443)
    await resolver.close()
