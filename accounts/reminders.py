"""Mails before the six months are over: 30, 7 and 1 days ahead, each sent once.

A mail is a row first, so that it is decided upon once, whoever decides and however often.
It is sent under the row's lock and marked in the same transaction: two workers never send
it both, and a mail server that fails gets it again an hour later. Only a process that is
killed between the sending and the commit can cause a second one, which is better than
none.
"""

import logging
import time
from smtplib import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)
from urllib.parse import urljoin

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import ReconnectReminder
from spotify_auth import chores
from spotify_auth.models import SpotifyToken

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 10.0

# A user who comes late (with a new address, for example) gets the most urgent mail only.
_DECIDE = """
INSERT INTO accounts_reconnectreminder (user_id, reauthorize_by, days)
SELECT token.user_id, token.reauthorize_by,
       CASE WHEN token.reauthorize_by < now() + interval '1 day' THEN 1
            WHEN token.reauthorize_by < now() + interval '7 days' THEN 7
            ELSE 30 END
FROM spotify_auth_spotifytoken AS token
JOIN accounts_user AS recipient ON recipient.id = token.user_id
WHERE token.status = 'active' AND token.authorized_at_known
  AND recipient.is_active AND recipient.email <> ''
  AND token.reauthorize_by BETWEEN now() AND now() + interval '30 days'
ON CONFLICT DO NOTHING
"""


def remind() -> int:
    """Send what is to be sent by now; how many mails went out.

    Ends at the first mail that fails for the mail server's own reasons, and after
    LONGEST_SECONDS, or when the worker is told to stop: the rest waits for the next call.
    """
    give_up = time.monotonic() + LONGEST_SECONDS
    with connection.cursor() as cursor:
        cursor.execute(_DECIDE)
    sent = 0
    try:
        while not _must_end(give_up) and (outcome := _send_next()) is not None:
            sent += outcome
    except (OSError, SMTPException) as error:
        logger.error("reminder_not_sent reason=%s", type(error).__name__)
    return sent


def _must_end(give_up: float) -> bool:
    return chores.stopping.is_set() or time.monotonic() > give_up


@transaction.atomic
def _send_next() -> bool | None:
    """Send one mail, or drop one that has no point any more; None if there is none left."""
    reminder = (
        ReconnectReminder.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("user")
        .filter(sent_at=None)
        .order_by("id")
        .first()
    )
    if reminder is None:
        return None
    # Since it was decided upon, the user may have reconnected or left.
    if not _still_true(reminder):
        reminder.delete()
        return False
    context = {
        "user": reminder.user,
        "days": reminder.days,
        "reauthorize_by": reminder.reauthorize_by,
        "link": urljoin(settings.SPOTIFY_REDIRECT_URI, reverse("accounts:reconnect")),
    }
    try:
        send_mail(
            subject=f"Please reconnect Spotify by {reminder.reauthorize_by:%-d %B %Y}",
            message=render_to_string("accounts/mails/reconnect.txt", context),
            from_email=None,
            recipient_list=[reminder.user.email],
        )
    except (SMTPRecipientsRefused, SMTPResponseException) as error:
        if not _is_about_this_mail(error):
            raise
        # It will be refused again: it must not hold up the others.
        logger.warning("reminder_refused user_id=%s days=%s", reminder.user_id, reminder.days)
    else:
        logger.info("reminder_sent user_id=%s days=%s", reminder.user_id, reminder.days)
    ReconnectReminder.objects.filter(pk=reminder.pk).update(sent_at=Now())
    return True


def _is_about_this_mail(error: SMTPRecipientsRefused | SMTPResponseException) -> bool:
    """Whether the server refuses this address or this mail for good, and would take others."""
    if isinstance(error, SMTPAuthenticationError | SMTPSenderRefused):
        return False
    return isinstance(error, SMTPRecipientsRefused) or error.smtp_code >= 500


def _still_true(reminder: ReconnectReminder) -> bool:
    return (
        bool(reminder.user.email)
        and reminder.user.is_active
        and SpotifyToken.objects.filter(
            user_id=reminder.user_id,
            status=SpotifyToken.Status.ACTIVE,
            reauthorize_by=reminder.reauthorize_by,
            reauthorize_by__gt=Now(),
        ).exists()
    )
