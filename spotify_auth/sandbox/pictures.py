"""Deterministic abstract pictures, drawn as SVG from nothing but their name."""

import re
from random import Random

from aiohttp import web

_NAME = re.compile(r"[a-z0-9-]{1,64}")
_SIZE = 640
_INK = "#22223b"
_PALETTES = (
    ("#f2cc8f", "#e07a5f", "#81b29a", "#3d405b", "#f4f1de"),
    ("#8ecae6", "#219ebc", "#023047", "#fb8500", "#ffb703"),
    ("#cdb4db", "#b38cb4", "#6d597a", "#355070", "#eaac8b"),
    ("#e9c46a", "#f4a261", "#2a9d8f", "#264653", "#e76f51"),
    ("#dad7cd", "#a3b18a", "#588157", "#344e41", "#e9edc9"),
    ("#ffcdb2", "#e5989b", "#b5838d", "#6d6875", "#ffe5d9"),
    ("#bde0fe", "#a2d2ff", "#5e7ce2", "#3a3f8f", "#ffc8dd"),
    ("#f7d6bf", "#d98c73", "#9c4a4a", "#4a2c40", "#f6bd60"),
)
"""From the sky at the top to the brightest colour, light to dark in between."""

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
    """One of four motifs in one of eight palettes, on a gradient."""
    random = Random(name)
    sky, *palette = random.choice(_PALETTES)
    motif = random.choice((_sun_and_hills, _arches, _ripples, _tiles))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" '
        f'width="{_SIZE}" height="{_SIZE}">'
        '<defs><linearGradient id="sky" x1="0" y1="0" x2="1" y2="1">'
        f'<stop offset="0" stop-color="{sky}"/><stop offset="1" stop-color="{palette[0]}"/>'
        "</linearGradient></defs>"
        f'<rect width="{_SIZE}" height="{_SIZE}" fill="url(#sky)"/>'
        f"{motif(random, palette)}</svg>"
    )


def _sun_and_hills(random: Random, palette: list[str]) -> str:
    x, y, radius = random.randint(160, 480), random.randint(140, 260), random.randint(70, 120)
    shapes = [f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{palette[3]}"/>']
    for layer, colour in enumerate((palette[2], palette[1], _INK)):
        base = 360 + layer * 95
        left, right = base + random.randint(-80, 60), base + random.randint(-80, 60)
        shapes.append(
            f'<path d="M0 {left} C 210 {left - 150}, 420 {right + 130}, 640 {right} V640 H0Z" '
            f'fill="{colour}"/>'
        )
    return "".join(shapes)


def _arches(random: Random, palette: list[str]) -> str:
    x = random.randint(180, 460)
    return "".join(
        f'<circle cx="{x}" cy="640" r="{470 - 80 * ring}" fill="{colour}"/>'
        for ring, colour in enumerate((*palette[1:], _INK, palette[3]))
    )


def _ripples(random: Random, palette: list[str]) -> str:
    x, y = random.randint(160, 480), random.randint(160, 480)
    return "".join(
        f'<circle cx="{x}" cy="{y}" r="{30 + 52 * ring}" fill="none" '
        f'stroke="{palette[1 + ring % 3]}" stroke-width="24"/>'
        for ring in range(10)
    )


def _tiles(random: Random, palette: list[str]) -> str:
    shapes = []
    for x in range(0, _SIZE, 160):
        for y in range(0, _SIZE, 160):
            colour, turn = random.choice((*palette[1:], _INK)), 90 * random.randrange(4)
            shapes.append(
                f'<path d="M{x} {y} h160 a160 160 0 0 1 -160 160z" fill="{colour}" '
                f'transform="rotate({turn} {x + 80} {y + 80})"/>'
            )
    return "".join(shapes)
