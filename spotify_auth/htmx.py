"""What htmx says of itself in the headers of a request (https://htmx.org/reference/#headers).

Read here and not with django-htmx, so that a project needs neither.
"""

from urllib.parse import unquote, urlsplit, urlunsplit

from django.http import HttpRequest, HttpResponse


def is_htmx(request: HttpRequest) -> bool:
    """Whether htmx asks, and so takes a part of a page."""
    return request.headers.get("HX-Request") == "true"


def trigger_of(request: HttpRequest) -> str:
    """The id of the element that asks; blank if it has none."""
    return request.headers.get("HX-Trigger", "")


def page_of(request: HttpRequest) -> str:
    """Path and query of the page in the browser; blank if that is not one of this host's."""
    url = request.headers.get("HX-Current-URL", "")
    if request.headers.get("HX-Current-URL-URI-AutoEncoded") == "true":
        url = unquote(url)
    parts = urlsplit(url)
    if (parts.scheme, parts.netloc) != (request.scheme, request.get_host()):
        return ""
    return urlunsplit(parts._replace(scheme="", netloc=""))


def redirect_whole_page(url: str) -> HttpResponse:
    """Let the browser leave the page, where a redirect would put the target into a part of it."""
    return HttpResponse(headers={"HX-Redirect": url})


def reload_whole_page() -> HttpResponse:
    """Let the browser load the page again."""
    return HttpResponse(headers={"HX-Refresh": "true"})
