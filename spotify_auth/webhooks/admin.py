"""Webhooks in the admin: addresses, and what became of each delivery."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers

from spotify_auth.encryption import DecryptionError
from spotify_auth.notices.models import Kind
from spotify_auth.webhooks import addresses, delivery, endpoints
from spotify_auth.webhooks.models import WebhookDelivery, WebhookEndpoint

if TYPE_CHECKING:
    _EndpointAdmin = admin.ModelAdmin[WebhookEndpoint]
    _DeliveryAdmin = admin.ModelAdmin[WebhookDelivery]
    _EndpointForm = forms.ModelForm[WebhookEndpoint]
else:  # Django's own are not generic at run time
    _EndpointAdmin = _DeliveryAdmin = admin.ModelAdmin
    _EndpointForm = forms.ModelForm

MOST_AT_ONCE = 200
_TYPES = [(kind.value, f"{kind.value}: {kind.label}") for kind in Kind if kind is not Kind.TEST]


class EndpointForm(_EndpointForm):
    """An address, its name and the types that it wants."""

    kinds = forms.MultipleChoiceField(
        label="Types", choices=_TYPES, widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("name", "url", "kinds")

    def clean_url(self) -> str:
        """An address that webhooks may be sent to."""
        url: str = self.cleaned_data["url"].strip()
        try:
            addresses.check(url)
        except addresses.BadAddress as error:
            raise forms.ValidationError(str(error)) from None
        return url


class EndpointPages(_EndpointAdmin):
    """Addresses. A secret is shown once, by the page that makes it, and never again."""

    form = EndpointForm
    list_display = ("name", "url", "status", "waiting", "given_up", "failing_since")
    list_filter = ("status",)
    readonly_fields = ("status", "failing_since", "previous_until", "created_at")
    actions = ("send_test", "renew_secret", "enable", "disable")

    class Media:
        css = {"all": ["spotify_auth/admin.css"]}

    def get_fields(
        self, request: HttpRequest, obj: WebhookEndpoint | None = None
    ) -> tuple[str, ...]:
        """What is typed; of an address that exists already, also how it is."""
        typed = EndpointForm.Meta.fields
        return (*typed, *self.readonly_fields) if obj else typed

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEndpoint]:
        """With the numbers of deliveries that were not taken."""
        status = WebhookDelivery.Status
        return (
            super()
            .get_queryset(request)
            .annotate(
                waiting=Count("deliveries", filter=Q(deliveries__status=status.WAITING)),
                given_up=Count("deliveries", filter=Q(deliveries__status=status.GIVEN_UP)),
            )
        )

    @admin.display(description="Waiting")
    def waiting(self, endpoint: WebhookEndpoint) -> int:
        """Deliveries that will be tried."""
        return int(endpoint.waiting)  # type: ignore[attr-defined]

    @admin.display(description="Given up")
    def given_up(self, endpoint: WebhookEndpoint) -> int:
        """Deliveries that will not."""
        return int(endpoint.given_up)  # type: ignore[attr-defined]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, and above it which addresses were disabled because they failed."""
        status = WebhookEndpoint.Status
        if request.method == "GET" and self.has_view_permission(request):
            lost = WebhookEndpoint.objects.filter(status__in=[status.GONE, status.FAILING])
            for endpoint in lost[:10]:
                self.message_user(
                    request,
                    f"{endpoint.name} is told nothing any more. {endpoint.get_status_display()}. "
                    "Mend its receiver, then choose Enable.",
                    messages.ERROR,
                )
        return super().changelist_view(request, extra_context)

    def save_model(
        self, request: HttpRequest, obj: WebhookEndpoint, form: Any, change: bool
    ) -> None:
        """Give a new address its secret; write of an old one only what was typed."""
        if change:
            # Workers write to the other columns.
            obj.save(update_fields=form.changed_data)
            return
        request.new_webhook_secret = endpoints.give_secret(obj)  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The secret, in the answer itself: a message would be kept in a cookie or the session."""
        return self._show_secret(request, obj, request.new_webhook_secret)  # type: ignore[attr-defined]

    @admin.action(description="Send a test", permissions=["change"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Send a notice of the type webhook.test; disabled addresses get it once enabled."""
        self._each(request, queryset, endpoints.send_test, "Sent a test.")
        _say_when(self, request, queryset[:MOST_AT_ONCE], "The test is sent within seconds.")

    @admin.action(description="Renew the secret (of one)", permissions=["change"])
    def renew_secret(
        self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]
    ) -> HttpResponse | None:
        """Show a new secret; for 24 hours the previous one signs too."""
        chosen = list(queryset[:2])
        if len(chosen) != 1:
            self.message_user(request, "Choose one webhook: its secret is shown.", messages.ERROR)
            return None
        try:
            secret = endpoints.renew_secret(chosen[0])
        except DecryptionError:
            self.message_user(
                request,
                "No key opens the present secret, so it cannot sign beside a new one. Put the key "
                "back into TOKEN_ENCRYPTION_KEYS, or delete the webhook and make it anew.",
                messages.ERROR,
            )
            return None
        self.log_change(request, chosen[0], "Renewed the secret.")
        return self._show_secret(request, chosen[0], secret, renewed=True)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Send to these from now on, and what waits for them."""
        self._each(request, queryset, endpoints.enable, "Enabled.")

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Send nothing to these."""
        self._each(request, queryset, endpoints.disable, "Disabled.")

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[WebhookEndpoint],
        act: Callable[[WebhookEndpoint], None],
        done: str,
    ) -> None:
        for endpoint in queryset[:MOST_AT_ONCE]:
            act(endpoint)
            self.log_change(request, endpoint, done)

    def _show_secret(
        self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str, *, renewed: bool = False
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"The secret of {endpoint.name}",
            "endpoint": endpoint,
            "secret": secret,
            "renewed": renewed,
            "opts": self.opts,
        }
        answer = TemplateResponse(request, "admin/spotify_auth/webhook_secret.html", context)
        add_never_cache_headers(answer)
        return answer


class DeliveryPages(_DeliveryAdmin):
    """What became of each webhook: for looking, and for sending one again."""

    list_display = (
        *("created", "endpoint", "type", "status", "attempts", "last_status", "last_answer"),
        *("last_at", "next_at"),
    )
    list_filter = ("status", "endpoint", "notice__kind")
    list_select_related = ("endpoint", "notice")
    show_full_result_count = False
    ordering = ("-pk",)
    fields = (
        *("endpoint", "type", "created", "message_id", "payload", "status", "attempts"),
        *("last_status", "last_answer", "last_at", "next_at"),
    )
    readonly_fields = fields
    actions = ("send_again",)

    class Media:
        css = {"all": ["spotify_auth/admin.css"]}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Along with its webhook or with a user, which have permissions of their own."""
        here = request.resolver_match.view_name if request.resolver_match else ""
        own = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_"
        return not here.startswith(own)

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """Whoever may change a webhook may send again."""
        return request.user.has_perm("spotify_auth.change_webhookendpoint")

    @admin.display(description="Happened")
    def created(self, row: WebhookDelivery) -> Any:
        """When the change of state happened."""
        return row.notice.at

    @admin.display(description="Type")
    def type(self, row: WebhookDelivery) -> str:
        """Of the notice."""
        return row.notice.kind

    @admin.display(description="webhook-id")
    def message_id(self, row: WebhookDelivery) -> str:
        """What a receiver knows it by: the same at each attempt."""
        return delivery.message_id(row.notice)

    @admin.display(description="What is sent")
    def payload(self, row: WebhookDelivery) -> str:
        """The body."""
        return delivery.payload(row.notice.kind, row.notice.at, row.notice.data).decode()

    @admin.action(description="Send again, with the same id", permissions=["resend"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        """Send the chosen once more, whatever became of them."""
        chosen = list(queryset[:MOST_AT_ONCE])
        for row in chosen:
            endpoints.send_again(row)
            self.log_change(request, row, "Sent again.")
        addressed = [row.endpoint for row in chosen]
        said = f"{len(chosen)} webhooks are sent again within seconds."
        _say_when(self, request, addressed, said)


def _say_when(
    pages: "admin.ModelAdmin[Any]",
    request: HttpRequest,
    addressed: Iterable[WebhookEndpoint],
    sent: str,
) -> None:
    """That it is sent, or for which addresses it waits."""
    disabled = {each.name for each in addressed if each.status != WebhookEndpoint.Status.ENABLED}
    if not disabled:
        pages.message_user(request, f"{sent} See the webhook deliveries.")
        return
    names = ", ".join(sorted(disabled))
    said = f"What is sent to {names} waits: no webhook is sent to a disabled address. Enable it."
    pages.message_user(request, said, messages.WARNING)
