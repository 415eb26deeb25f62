"""The request as middleware and `login_required` leave it, for type checkers."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from accounts.models import User


class SignedInRequest(HttpRequest):
    """A request of a user who is logged in."""

    user: User
    htmx: HtmxDetails
