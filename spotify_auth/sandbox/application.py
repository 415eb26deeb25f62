"""The addresses of the sandbox, and who answers there."""

import time
from email.utils import formatdate

from aiohttp import web

from . import accounts, authorize, control, pictures, web_api
from .memory import MEMORY, Memory
from .state import Settings

_LARGEST_FORM = 16 * 1024


def build(settings: Settings) -> web.Application:
    """A sandbox ready to serve, with an empty memory."""
    application = web.Application(client_max_size=_LARGEST_FORM)
    application[MEMORY] = Memory(settings)
    application.on_shutdown.append(_let_go)
    application.on_response_prepare.append(_date)
    application.add_routes(
        [
            web.post("/api/token", accounts.token),
            web.get("/authorize", authorize.ask),
            web.post("/authorize", authorize.decide),
            web.get("/sandbox.css", authorize.style),
            web.get("/pictures/{name}.svg", pictures.picture),
            web.get("/v1/{path:.+}", web_api.web_api),
            web.get("/__faults", control.list_faults),
            web.post("/__faults", control.program_fault),
            web.delete("/__faults", control.clear_faults),
            web.post("/__release", control.release),
            web.post("/__reset", control.reset),
            web.post("/__connect", control.connect),
            web.get("/__stats", control.stats),
            web.post(f"/__{{action:{'|'.join(control.ACTION_NAMES)}}}", control.act),
        ]
    )
    return application


async def _let_go(application: web.Application) -> None:
    """Held answers would keep the process from ending."""
    application[MEMORY].faults.clear()


async def _date(request: web.Request, response: web.StreamResponse) -> None:
    """The answer's Date, by the clock of this Spotify."""
    if fault := request.app[MEMORY].faults.take("clock_ahead", None):
        response.headers["Date"] = formatdate(
            time.time() + fault.parameters["seconds"], usegmt=True
        )
