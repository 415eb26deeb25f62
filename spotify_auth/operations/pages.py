"""The operations page in the admin: the page, its part that is asked for again, its buttons."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import redis
from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers

import spotify_auth
from spotify_auth import htmx, verbs
from spotify_auth.admin_pages.acting import ReasonForm
from spotify_auth.cooldown import Reason
from spotify_auth.operations import charts, figures, looking
from spotify_auth.operations.looking import DAY, HOUR, Looked
from spotify_auth.operations.verdict import Verdict, verdict
from spotify_auth.verbs import Operator, Result

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # Django's own is not generic at run time

PERMISSION = "spotify_auth.operate_service"
POLL_SECONDS = 5
RELOAD_SECONDS = 15
"""How often the page loads itself again on a site without htmx."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Button:
    """What an operator can press, and what the page behind it asks."""

    code: str
    label: str
    title: str
    means: str
    act: Callable[..., Result]
    tone: str = ""


_BUTTONS: Final = {
    button.code: button
    for button in (
        Button(
            code="pause",
            label="Pause all refreshing",
            title="Pause all refreshing?",
            means="No worker takes a token from now on, until somebody resumes. Exchanges in hand "
            "are finished and stored. Users can log in, and lose access as their access tokens "
            "expire: the first after minutes, all within an hour.",
            act=verbs.pause_all,
            tone="bad",
        ),
        Button(
            code="resume",
            label="Resume refreshing",
            title="Resume refreshing?",
            means="The next sweep opens lanes again. Tokens that were paused singly stay paused.",
            act=verbs.resume_all,
        ),
        Button(
            code="lift",
            label="Lift the cool-down",
            title="Lift the cool-down?",
            means="Every worker asks Spotify again at once. If the cause is not over, the next "
            "answers begin another cool-down, and a limit of Spotify's may last longer for it.",
            act=verbs.lift_cooldown,
        ),
        Button(
            code="forget",
            label="Forget the pace",
            title="Forget the paces that 429s have taught?",
            means="Every worker asks Spotify as fast as its lanes can, and every page as often as "
            "it likes. If a limit is as it was, the next 429 pauses what it limits, and teaches "
            "the pace again. Press it when a limit was raised, or another program with this "
            "client ID was stopped.",
            act=verbs.forget_pace,
        ),
    )
}


class OperationsAdmin(_ModelAdmin):
    """The page stands where the list of its model would be: so the admin's index links to it."""

    def get_urls(self) -> list[URLPattern]:
        """The page, its part, and the pages behind its buttons."""
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.page), name="spotify_auth_operations_changelist"),
            path("figures/", self.part, name="spotify_auth_operations_figures"),
            path("<slug:code>/", wrap(self.ask), name="spotify_auth_operations_ask"),
        ]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("spotify_auth.view_spotifytoken")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def page(self, request: HttpRequest) -> HttpResponse:
        """The whole page. Raises django.db.Error."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            **self._found(request),
            "title": "Operations",
            "htmx_script": _htmx_script(),
            "poll_seconds": POLL_SECONDS,
            "reload_seconds": RELOAD_SECONDS,
        }
        return TemplateResponse(request, "admin/spotify_auth/operations/page.html", context)

    def part(self, request: HttpRequest) -> HttpResponse:
        """What the page asks for every few seconds. Raises django.db.Error."""
        if not self.admin_site.has_permission(request):
            # The page would otherwise show the login form in its midst.
            response = htmx.reload_whole_page()
        elif not self.has_view_permission(request):
            raise PermissionDenied
        else:
            context = self._found(request)
            context["unchanged"] = request.GET.get("shown") == context["shown"]
            template = "admin/spotify_auth/operations/_part.html"
            response = TemplateResponse(request, template, context)
        add_never_cache_headers(response)
        return response

    def ask(self, request: HttpRequest, code: str) -> HttpResponse:
        """Ask for the reason, and then do what the button says. Raises django.db.Error."""
        if (button := _BUTTONS.get(code)) is None:
            raise Http404
        if not self.has_view_permission(request) or not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            self._act(request, button, form.cleaned_data["reason"])
            return HttpResponseRedirect(self._page())
        context = {
            **self.admin_site.each_context(request),
            "title": button.title,
            "button": button,
            "form": form,
            "page": self._page(),
        }
        return TemplateResponse(request, "admin/spotify_auth/operations/ask.html", context)

    def _act(self, request: HttpRequest, button: Button, reason: str) -> None:
        try:
            result = button.act(operator=Operator.of(request.user), reason=reason)
        except redis.RedisError:
            said = "Redis does not answer: nothing was changed."
            self.message_user(request, said, messages.ERROR)
            return
        level = messages.SUCCESS if result.is_done else messages.WARNING
        self.message_user(request, result.sentence, level)

    def _page(self) -> str:
        return reverse(f"{self.admin_site.name}:spotify_auth_operations_changelist")

    def _found(self, request: HttpRequest) -> dict[str, Any]:
        found = looking.look()
        said = verdict(found)
        running = {process.version for process in found.processes if process.is_there}
        return {
            "look": found,
            "verdict": said,
            "shown": _digest(said),
            "objective": figures.objective(found),
            "work": figures.work(found),
            "outcomes": figures.outcomes(found),
            "charts": [
                charts.chart(
                    found.minutes,
                    name="minute",
                    title="Refreshes a minute",
                    step=HOUR / 60,
                    bars=60,
                    now=found.now,
                ),
                charts.chart(
                    found.hours,
                    name="hour",
                    title="Refreshes an hour",
                    step=HOUR,
                    bars=DAY // HOUR,
                    now=found.now,
                ),
            ],
            "versions": sorted({*running, spotify_auth.__version__}),
            "buttons": _buttons(found) if request.user.has_perm(PERMISSION) else [],
            "may_operate": request.user.has_perm(PERMISSION),
        }


def _buttons(look: Looked) -> list[Button]:
    """Those that do something at this moment, the one that helps first."""
    traffic = look.summary.traffic
    cooled = traffic is not None and traffic.cooldown not in {"", Reason.RESTORING}
    paced = traffic is not None and min(traffic.pace, traffic.web_api_pace) != float("inf")
    codes = ["resume" if look.paused else "pause"]
    if cooled:
        codes.insert(0 if not look.paused else 1, "lift")
    if paced:
        codes.append("forget")
    return [_BUTTONS[code] for code in codes]


def _digest(said: Verdict) -> str:
    """So that the browser is not sent, and does not read out, the same words again."""
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def _htmx_script() -> str:
    """The tag that loads htmx; blank on a site without it, whose page loads itself again."""
    if not apps.is_installed("django_htmx"):
        return ""
    from django_htmx.jinja import htmx_script

    return htmx_script()
