"""Reading `application/x-www-form-urlencoded` bodies, and nothing else."""

from urllib.parse import parse_qsl

from aiohttp import web

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 40


class FormError(Exception):
    """The body is not a usable form; the message and status say why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of the body. Another content type is as good as no fields: JSON is not read."""
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise FormError("Request body too large", 413) from None
    if request.content_type != _FORM:
        return {}
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise FormError("Malformed request body") from None
    form = dict(fields)
    if len(form) != len(fields):
        raise FormError("Repeated parameter")  # forbidden by RFC 6749 3.2
    return form
