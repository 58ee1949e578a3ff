import dj_email_url

from pgpanel.settings import EMAIL_CONFIG


def test_without_a_mail_server_mail_is_printed_and_not_sent_to_one_that_nobody_named() -> None:
    """A scheme that dj-email-url does not know leaves Django's own default: SMTP, to no host."""
    assert EMAIL_CONFIG.get("EMAIL_BACKEND") in dj_email_url.SCHEMES.values()
