from local.dev import welcome

URL = "http://127.0.0.1:4566"


def test_without_keys_the_welcome_names_none() -> None:
    text = welcome(f"{URL}/api", URL, "OpenAI", needs_key=False)

    assert f"curl -s {URL}/api/jobs -H 'Content-Type: application/json'" in text
    assert "key" not in text.lower()


def test_with_keys_the_welcome_says_how_to_make_one_and_sends_it() -> None:
    text = welcome(f"{URL}/api", URL, "OpenAI", needs_key=True)

    assert "KEY=$(.venv/bin/jobchain keys create --tenant me)" in text
    assert f'curl -s {URL}/api/jobs -H "Authorization: Bearer $KEY" -H ' in text
