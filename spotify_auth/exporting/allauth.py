"""django-allauth's tables as a destination."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from spotify_auth.conf import settings
from spotify_auth.exporting.destination import Kept, NoPlace, of_account
from spotify_auth.importing.allauth import PROVIDER
from spotify_auth.importing.source import model
from spotify_auth.models import UserId


class AllauthDestination:
    """A user's SocialToken, beside the SocialAccount that the tokens are of."""

    name = "allauth"

    def open(self) -> None:
        library = "django-allauth"
        self._accounts: Any = model("socialaccount", "SocialAccount", library=library).objects
        self._tokens: Any = model("socialaccount", "SocialToken", library=library).objects
        apps: Any = model("socialaccount", "SocialApp", library=library).objects
        ours = apps.filter(provider=PROVIDER, client_id=settings.SPOTIFY_CLIENT_ID)
        self._app = ours.first()  # none, if it is in the settings

    def writing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def check(self, user_id: UserId, account_id: str | None) -> None:
        self._account(user_id, account_id)

    def put(self, kept: Kept) -> None:
        account = self._account(kept.user_id, kept.account_id)
        values = {
            "token": kept.access_token,
            "token_secret": kept.refresh_token,
            "expires_at": kept.expires_at,
        }
        here = self._tokens.filter(account=account)
        token = here.filter(app=self._app).first() or here.filter(app=None).first()
        if token:
            self._tokens.filter(pk=token.pk).update(**values)
        else:
            self._tokens.create(account=account, app=self._app, **values)

    def settle(self) -> None:
        """Its tables are in the same transaction."""

    def _account(self, user_id: UserId, account_id: str | None) -> Any:
        accounts = self._accounts.filter(user_id=user_id, provider=PROVIDER)
        account = of_account(accounts.order_by("-last_login", "-pk"), account_id)
        if account is None:
            raise NoPlace("the user has no SocialAccount of this Spotify account there")
        return account
