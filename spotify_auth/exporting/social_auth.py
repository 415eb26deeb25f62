"""social-auth-app-django's table as a destination."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from spotify_auth.exporting.destination import Kept, NoPlace, of_account
from spotify_auth.importing.social_auth import PROVIDER
from spotify_auth.importing.source import model
from spotify_auth.models import UserId


class SocialAuthDestination:
    """The `extra_data` of the UserSocialAuth that the tokens are of."""

    name = "social-auth"

    def open(self) -> None:
        self._rows: Any = model("social_django", "UserSocialAuth", library="social-auth").objects

    def writing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def check(self, user_id: UserId, account_id: str | None) -> None:
        self._row(self._rows.all(), user_id, account_id)

    def put(self, kept: Kept) -> None:
        row = self._row(self._rows.select_for_update(), kept.user_id, kept.account_id)
        data = row.extra_data if isinstance(row.extra_data, dict) else {}
        added = {
            "access_token": kept.access_token,
            "refresh_token": kept.refresh_token,
            "token_type": "Bearer",
            **_expiry(data, kept.expires_at),
        }
        self._rows.filter(pk=row.pk).update(extra_data={**data, **added})

    def settle(self) -> None:
        """Its table is in the same transaction."""

    def _row(self, rows: "QuerySet[Any]", user_id: UserId, account_id: str | None) -> Any:
        here = rows.filter(user_id=user_id, provider=PROVIDER)
        row = of_account(here.order_by("-modified", "-pk"), account_id)
        if row is None:
            raise NoPlace("the user has no UserSocialAuth of this Spotify account there")
        return row


def _expiry(data: Mapping[str, Any], expires_at: datetime) -> dict[str, int]:
    """What the library goes by, if it has kept it: SOCIAL_AUTH_SPOTIFY_EXTRA_DATA decides that.

    A name that its own refreshes do not keep would say for ever that the token has expired, and
    each page would refresh it.
    """
    moment, now = int(expires_at.timestamp()), int(time.time())
    if "expires_in" in data:  # seconds from `auth_time`
        return {"expires_in": moment - now, "auth_time": now}
    # The library takes an `expires` as large as this for a moment.
    return {"expires": moment} if "expires" in data else {}
