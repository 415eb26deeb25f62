"""Tokens, their history and what is done to many of them, in the admin: for looking and acting."""

from django.contrib import admin

from spotify_auth.admin_pages import acting, bulk_pages, events, tokens
from spotify_auth.admin_pages.lists import ReadOnlyAdmin
from spotify_auth.models import (
    BulkAction,
    Operations,
    SpotifyToken,
    TokenEvent,
    WebhookDelivery,
    WebhookEndpoint,
)
from spotify_auth.operations.pages import OperationsAdmin
from spotify_auth.webhooks.admin import DeliveryPages, EndpointPages


@admin.register(SpotifyToken)
class SpotifyTokenAdmin(acting.TokenActions, tokens.TokenPages, ReadOnlyAdmin):
    """One row per connected user. The tokens themselves are never shown."""


@admin.register(TokenEvent)
class TokenEventAdmin(events.EventPages, ReadOnlyAdmin):
    """The history of all tokens."""


@admin.register(BulkAction)
class BulkActionAdmin(bulk_pages.BulkPages, ReadOnlyAdmin):
    """What is done to all tokens that match a filter."""


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(EndpointPages):
    """Where webhooks are sent."""


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(DeliveryPages, ReadOnlyAdmin):
    """What became of each webhook."""


admin.site.register(Operations, OperationsAdmin)
