"""social-auth-app-django's table as a destination."""

from contextlib import AbstractContextManager, nullcontext
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
        # The library takes an `expires` as large as this for a moment.
        moment = int(kept.expires_at.timestamp())
        added = {
            "access_token": kept.access_token,
            "refresh_token": kept.refresh_token,
            "token_type": "Bearer",
            "expires": moment,
        }
        data = {name: value for name, value in data.items() if name != "expires_in"}
        self._rows.filter(pk=row.pk).update(extra_data={**data, **added})

    def settle(self) -> None:
        """Its table is in the same transaction."""

    def _row(self, rows: "QuerySet[Any]", user_id: UserId, account_id: str | None) -> Any:
        here = rows.filter(user_id=user_id, provider=PROVIDER)
        row = of_account(here.order_by("-modified", "-pk"), account_id)
        if row is None:
            raise NoPlace("the user has no UserSocialAuth of this Spotify account there")
        return row
