"""`python -m spotify_auth.sandbox`: serve until SIGTERM or SIGINT."""

import asyncio
import errno
import os
import signal
import ssl
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

try:
    import uvloop
    from aiohttp import web
except ModuleNotFoundError:
    sys.exit('The sandbox needs aiohttp and uvloop: install "spotify-token-keeper[sandbox]".')

from . import application, persistence
from .memory import MEMORY
from .state import CODE_LIFETIME_SECONDS, SIX_MONTHS_SECONDS, Settings
from .worlds import DEFAULT, FLAGS, World, WorldError, reuse_revokes_grant, world_of

_SHUTDOWN_SECONDS = 1.0


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    try:
        world = world_of(options.world)
        revokes = reuse_revokes_grant(options.reuse_revokes_grant, world)
    except WorldError as error:
        parser.exit(2, f"{error}\n")
    settings = Settings(
        client_id=options.client_id,
        client_secret=options.client_secret,
        redirect_uris=tuple(options.redirect_uri or [_default_redirect_uri()]),
        access_token_lifetime=options.access_token_lifetime,
        code_lifetime=options.code_lifetime,
        refresh_token_lifetime=options.refresh_token_lifetime,
        world=world,
        reuse_revokes_grant=revokes,
    )
    try:
        uvloop.run(_serve(settings, options))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        print(f"port {options.port} is in use on {options.host}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: Settings, options: Namespace) -> None:
    host, memory = options.host, options.memory
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    app = application.build(settings)
    if memory:
        persistence.load(app[MEMORY].state, memory)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, options.port, backlog=1024).start()
        if options.certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(options.certificate)
            await web.TCPSite(runner, host, 0, backlog=1024, ssl_context=tls).start()
        ports = [address[1] for address in runner.addresses]
        print(f"ready on http://{host}:{ports[0]}", flush=True)
        if options.certificate:
            print(f"and on https://{host}:{ports[1]}", flush=True)
        print(f"world {settings.world}: {settings.world.habit}", flush=True)
        await stopped.wait()
    finally:
        await runner.cleanup()
        if memory:
            persistence.save(app[MEMORY].state, memory)


def _parser() -> ArgumentParser:
    environment = os.environ
    parser = ArgumentParser(prog="sandbox", description="A local stand-in for Spotify.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=environment.get("SANDBOX_PORT", "8090"))
    parser.add_argument(
        "--access-token-lifetime",
        type=_seconds,
        default=environment.get("SANDBOX_ACCESS_TOKEN_LIFETIME", "120"),
        help="seconds; Spotify's is 3600, short ones show the refreshing at work",
    )
    parser.add_argument("--code-lifetime", type=_seconds, default=CODE_LIFETIME_SECONDS)
    parser.add_argument("--refresh-token-lifetime", type=_seconds, default=SIX_MONTHS_SECONDS)
    parser.add_argument(
        "--client-id", default=environment.get("SPOTIFY_CLIENT_ID") or "sandbox-client"
    )
    parser.add_argument(
        "--client-secret", default=environment.get("SPOTIFY_CLIENT_SECRET") or "sandbox-secret"
    )
    parser.add_argument(
        "--world",
        default=environment.get("SANDBOX_WORLD", DEFAULT),
        help=f"{' or '.join(World)}: what a refresh does to the refresh token",
    )
    parser.add_argument(
        "--reuse-revokes-grant",
        default=environment.get("SANDBOX_REUSE_REVOKES_GRANT", "false"),
        help=f"{' or '.join(FLAGS)}: whether a dead refresh token that comes back revokes all",
    )
    parser.add_argument(
        "--memory", type=Path, help="a file that keeps the grants from one start to the next"
    )
    parser.add_argument(
        "--certificate",
        type=Path,
        help="a PEM file with a key and its certificate: serve https too, on a port of its own",
    )
    parser.add_argument(
        "--redirect-uri", action="append", help="a registered redirect URI; may be repeated"
    )
    return parser


def _default_redirect_uri() -> str:
    return os.environ.get("SPOTIFY_REDIRECT_URI") or "http://127.0.0.1:8000/spotify/callback/"


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
