"""The URLs that a webhook may have."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.webhooks.urls import MOST_CHARACTERS, Target, UnusableUrl, webhook_target

PUBLIC = [
    ("https://hooks.example.com", Target("https", "hooks.example.com", 443, "/")),
    ("https://hooks.example.com/", Target("https", "hooks.example.com", 443, "/")),
    ("HTTPS://Hooks.Example.COM/In?Token=a%20B", Target("https", "hooks.example.com", 443, "/In?Token=a%20B")),
    ("https://hooks.example.com:8443/in", Target("https", "hooks.example.com", 8443, "/in")),
    ("https://hooks.example.com:443?a=b", Target("https", "hooks.example.com", 443, "/?a=b")),
    ("https://xn--bcher-kva.example.com/", Target("https", "xn--bcher-kva.example.com", 443, "/")),
    ("https://a.xn--p1ai/", Target("https", "a.xn--p1ai", 443, "/")),
    ("https://1.example.com/", Target("https", "1.example.com", 443, "/")),
    ("https://127.0.0.1.example.com/", Target("https", "127.0.0.1.example.com", 443, "/")),
    ("https://hooks.example.com//etc/../in;a=1", Target("https", "hooks.example.com", 443, "//etc/../in;a=1")),
    (
        "https://hooks.example.com/?to=http://10.0.0.1/",
        Target("https", "hooks.example.com", 443, "/?to=http://10.0.0.1/"),
    ),
]

REFUSED = [
    ("", "it is empty"),
    ("hooks.example.com", "no URL with a scheme and a host"),
    ("//hooks.example.com/", "no URL with a scheme and a host"),
    ("https:hooks.example.com", "no URL with a scheme and a host"),
    ("https:/hooks.example.com", "no URL with a scheme and a host"),
    ("https://", "it has no host"),
    ("https:///in", "it has no host"),
    ("https://:443/in", "it has no host"),
    # schemes
    ("http://hooks.example.com/", "not encrypted; use https"),
    ("ftp://hooks.example.com/", "its scheme is not https"),
    ("file:///etc/passwd", "its scheme is not https"),
    ("gopher://hooks.example.com/", "its scheme is not https"),
    ("javascript://hooks.example.com/%0Aalert(1)", "its scheme is not https"),
    # credentials and fragments
    ("https://user:password@hooks.example.com/", "it has a user or a password"),
    ("https://user@hooks.example.com/", "it has a user or a password"),
    ("https://@hooks.example.com/", "it has a user or a password"),
    ("https://hooks.example.com@169.254.169.254/", "it has a user or a password"),
    ("https://hooks.example.com:443@10.0.0.1/", "it has a user or a password"),
    ("https://hooks.example.com/#", "it has a fragment"),
    ("https://hooks.example.com/in#part", "it has a fragment"),
    ("https://10.0.0.1#@hooks.example.com/", "it has a fragment"),
    # characters
    (" https://hooks.example.com/", r"no URL has \(U\+0020\) as character 1"),
    ("https://hooks.example.com/\r\nHost:x", r"no URL has \(U\+000D\)"),
    ("https://hooks.example.com/in\n", r"no URL has \(U\+000A\)"),
    ("https://hooks.example.com\\@10.0.0.1/", r"no URL has \(U\+005C\)"),
    ("https://hooks.example.com\x00.evil.com/", r"no URL has \(U\+0000\)"),
    ("https://hooks.example.com/{a}", r"no URL has \(U\+007B\)"),
    ("https://bücher.example.com/", r"outside ASCII \(U\+00FC\) as character 10; write a host in its ASCII form"),
    ("https://hooks.example.com/ä", r"outside ASCII \(U\+00E4\)"),
    ("https://①②⑦.⓪.⓪.①/", "outside ASCII"),
    ("https://hooks。example。com/", "outside ASCII"),
    ("https://hooks.example.com/%zz", "its character 27 is a % without two hexadecimal digits"),
    ("https://hooks.example.com/%", "a % without"),
    ("https://hooks%2eexample%2ecom/", "no valid name"),
    # ports
    ("https://hooks.example.com:80/", "its port is 80; use port 443 or 8443"),
    ("https://hooks.example.com:22/", "its port is 22"),
    ("https://hooks.example.com:6379/", "its port is 6379"),
    ("https://hooks.example.com:65535/", "its port is 65535"),
    ("https://hooks.example.com:0/", "not a number of 1 to 65535"),
    ("https://hooks.example.com:65536/", "not a number of 1 to 65535"),
    ("https://hooks.example.com:/", "not a number of 1 to 65535"),
    ("https://hooks.example.com:0443/", "not a number of 1 to 65535"),
    ("https://hooks.example.com:+443/", "not a number of 1 to 65535"),
    ("https://hooks.example.com:443:443/", "not a number of 1 to 65535"),
    # addresses, in every spelling
    ("https://127.0.0.1/", "an address, not a name"),
    ("https://169.254.169.254/latest/meta-data/", "an address, not a name"),
    ("https://8.8.8.8/", "an address, not a name"),
    ("https://[::1]/", "an address, not a name"),
    ("https://[::ffff:127.0.0.1]/", "an address, not a name"),
    ("https://[fe80::1%25eth0]/", "an address, not a name"),
    ("https://[fd00:ec2::254]/", "an address, not a name"),
    ("https://[64:ff9b::7f00:1]/", "an address, not a name"),
    ("https://[::]:443/", "an address, not a name"),
    ("https://::1/", "not a number of 1 to 65535"),
    ("https://[::1/", "its host is malformed"),
    ("https://::1]/", "not a number of 1 to 65535"),
    ("https://[hooks.example.com]/", "its host is malformed"),
    ("https://2130706433/", "a private network"),
    ("https://0x7f000001/", "a private network"),
    ("https://017700000001/", "a private network"),
    ("https://127.1/", "ends in a number"),
    ("https://127.0.1/", "ends in a number"),
    ("https://0177.0.0.1/", "ends in a number"),
    ("https://0x7f.0.0.1/", "ends in a number"),
    ("https://0x7f.0x0.0x0.0x1/", "ends in a number"),
    ("https://127.0.0.0x1/", "ends in a number"),
    ("https://256.256.256.256/", "ends in a number"),
    ("https://127.0.0.1./", "ends with a dot"),
    # names
    ("https://localhost/", "a private network"),
    ("https://LOCALHOST/", "a private network"),
    ("https://localhost./", "ends with a dot"),
    ("https://a.localhost/", "a private network"),
    ("https://metadata/", "a private network"),
    ("https://metadata.google.internal/", "a private network"),
    ("https://instance-data.ec2.internal/", "a private network"),
    ("https://printer.local/", "a private network"),
    ("https://router.lan/", "a private network"),
    ("https://nas.home.arpa/", "a private network"),
    ("https://1.0.0.127.in-addr.arpa/", "a private network"),
    ("https://hidden.onion/", "a private network"),
    ("https://hooks.example.com./", "ends with a dot"),
    ("https://hooks..example.com/", "no valid name"),
    ("https://.example.com/", "no valid name"),
    ("https://-a.example.com/", "no valid name"),
    ("https://a-.example.com/", "no valid name"),
    ("https://a_b.example.com/", "no valid name"),
    ("https://a!b.example.com/", "no valid name"),
    (f"https://{'a' * 64}.example.com/", "no valid name"),
    (f"https://{'a.' * 126}example.com/", "no valid name"),
    # length
    ("https://hooks.example.com/" + "a" * 3000, "it has 3026 characters, more than 1024; use a shorter URL"),
]


@pytest.mark.parametrize(("url", "target"), PUBLIC)
def test_a_url_of_a_public_server_is_accepted(url: str, target: Target) -> None:
    assert webhook_target("webhook_url", url) == target


@pytest.mark.parametrize(("url", "why"), REFUSED)
def test_any_other_url_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(UnusableUrl, match=f"^webhook_url can't be used: .*({why})"):
        webhook_target("webhook_url", url)


@pytest.mark.parametrize(
    ("url", "why"), [row for row in REFUSED if row[0] not in ("https://127.0.0.1/", "https://[::1]/")]
)
def test_a_local_stack_refuses_the_same_but_for_this_machine(url: str, why: str) -> None:
    if re.match(r"(?i)https://localhost[:/]", url):
        assert webhook_target("webhook_url", url, local=True).host == "localhost"
    else:
        with pytest.raises(UnusableUrl, match=why):
            webhook_target("webhook_url", url, local=True)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://localhost:3000/hook", Target("http", "localhost", 3000, "/hook")),
        ("http://localhost/hook", Target("http", "localhost", 80, "/hook")),
        ("http://127.0.0.1:8080/", Target("http", "127.0.0.1", 8080, "/")),
        ("https://[::1]:9000/", Target("https", "::1", 9000, "/")),
        ("https://hooks.example.com/", Target("https", "hooks.example.com", 443, "/")),
    ],
)
def test_a_local_stack_accepts_this_machine_too(url: str, target: Target) -> None:
    assert webhook_target("webhook_url", url, local=True) == target


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://hooks.example.com/", "hooks.example.com"),
        ("https://hooks.example.com:8443/", "hooks.example.com:8443"),
        ("http://localhost:3000/", "localhost:3000"),
        ("http://[::1]/", "[::1]"),
        ("http://[::1]:81/", "[::1]:81"),
    ],
)
def test_the_header_host_has_the_port_where_it_is_another(url: str, host: str) -> None:
    assert webhook_target("webhook_url", url, local=True).authority == host


def test_the_refusal_does_not_repeat_what_was_given() -> None:
    with pytest.raises(UnusableUrl) as error:
        webhook_target("webhook_url", "https://user:hunter2@hooks.example.com/?token=abc")

    assert not {"hunter2", "abc"} & set(re.split(r"\W", str(error.value)))


def test_the_longest_url_is_accepted() -> None:
    url = "https://hooks.example.com/"

    assert (
        len(webhook_target("webhook_url", url + "a" * (MOST_CHARACTERS - len(url))).path)
        == MOST_CHARACTERS - len(url) + 1
    )


@given(st.one_of(st.text(), st.text(alphabet="htps:/[]@.#?%0123456789abcdefx\\-").map("https://{}".format)))
def test_any_text_is_a_target_of_a_public_name_or_is_refused(text: str) -> None:
    try:
        target = webhook_target("webhook_url", text)
    except UnusableUrl:
        return
    assert re.fullmatch(r"([a-z0-9-]+\.)+([a-z]{2,63}|xn--[a-z0-9-]+)", target.host)
    assert target.port in (443, 8443)
    assert target.path.startswith("/")
    assert not re.search(r"[^!-~]", target.path)
