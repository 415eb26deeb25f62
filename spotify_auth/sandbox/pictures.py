"""Deterministic abstract pictures, drawn as SVG from nothing but their name."""

import re
from random import Random

from aiohttp import web

_NAME = re.compile(r"[a-z0-9-]{1,64}")
_SIZE = 640
_FOREVER = "public, max-age=31536000, immutable"


async def picture(request: web.Request) -> web.Response:
    """GET /pictures/<name>.svg: any well-formed name has a picture, always the same one."""
    name = request.match_info["name"]
    if not _NAME.fullmatch(name):
        raise web.HTTPNotFound
    return web.Response(
        text=draw(name),
        content_type="image/svg+xml",
        headers={
            "Cache-Control": _FOREVER,
            "Content-Security-Policy": "default-src 'none'",
            "X-Content-Type-Options": "nosniff",
        },
    )


def draw(name: str) -> str:
    """A two-colour gradient with one of four motifs on it."""
    random = Random(name)
    hue = random.randrange(360)
    motif = random.choice((_sun_and_hills, _arches, _ripples, _tiles))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" '
        f'width="{_SIZE}" height="{_SIZE}">'
        '<defs><linearGradient id="sky" x1="0" y1="0" x2="1" y2="1">'
        f'<stop offset="0" stop-color="{_colour(hue, 62, 52)}"/>'
        f'<stop offset="1" stop-color="{_colour(hue + 50, 58, 32)}"/>'
        "</linearGradient></defs>"
        f'<rect width="{_SIZE}" height="{_SIZE}" fill="url(#sky)"/>'
        f"{motif(random, hue)}</svg>"
    )


def _colour(hue: int, saturation: int, lightness: int) -> str:
    return f"hsl({hue % 360} {saturation}% {lightness}%)"


def _sun_and_hills(random: Random, hue: int) -> str:
    x, y, radius = random.randint(160, 480), random.randint(140, 300), random.randint(70, 130)
    shapes = [f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{_colour(hue + 190, 80, 74)}"/>']
    for layer in range(3):
        base, lightness = 380 + layer * 85, 38 - layer * 10
        left, right = base + random.randint(-90, 60), base + random.randint(-90, 60)
        shapes.append(
            f'<path d="M0 {left} C 210 {left - 150}, 420 {right + 130}, 640 {right} V640 H0Z" '
            f'fill="{_colour(hue + 25 * layer, 48, lightness)}"/>'
        )
    return "".join(shapes)


def _arches(random: Random, hue: int) -> str:
    x = random.randint(200, 440)
    return "".join(
        f'<circle cx="{x}" cy="640" r="{460 - 76 * ring}" '
        f'fill="{_colour(hue + 170 + 18 * ring, 66, 40 + 8 * ring)}"/>'
        for ring in range(6)
    )


def _ripples(random: Random, hue: int) -> str:
    x, y = random.randint(180, 460), random.randint(180, 460)
    return "".join(
        f'<circle cx="{x}" cy="{y}" r="{38 + 56 * ring}" fill="none" '
        f'stroke="{_colour(hue + 150 + 10 * ring, 78, 76 - 5 * ring)}" stroke-width="20"/>'
        for ring in range(8)
    )


def _tiles(random: Random, hue: int) -> str:
    shapes = []
    for row in range(4):
        for column in range(4):
            x, y = column * 160, row * 160
            colour = _colour(hue + random.choice((20, 60, 170, 200)), 60, random.randint(36, 72))
            turn = 90 * random.randrange(4)
            shapes.append(
                f'<path d="M{x} {y} h160 a160 160 0 0 1 -160 160z" fill="{colour}" '
                f'transform="rotate({turn} {x + 80} {y + 80})"/>'
            )
    return "".join(shapes)
