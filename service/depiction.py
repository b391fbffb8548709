"""Drawings of molecules for the page: SVG by RDKit, made in a process of its own and stripped to plain shapes."""

import re
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from xml.etree import ElementTree

from service.processes import Pool
from verifiers.each import Unreadable

SIDES = (240, 180)
SVG = "http://www.w3.org/2000/svg"
SHAPES = {"svg", "g", "path", "rect", "ellipse", "circle", "polygon", "polyline", "line"}
GEOMETRY = {"d", "points", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "width", "height", "viewBox"}
PAINT = {"fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "stroke-opacity", "opacity"}
"""Of a style, too; what is not listed is left out: scripts, links, text, classes, metadata."""
PLAIN = re.compile(r"[#\w.,+\- ()]*")
DRAWING = Pool(1)


class Undrawn(ValueError):
    """Why there is no drawing."""


class NotInstalled(Undrawn):
    """RDKit is not there."""


@lru_cache(maxsize=4096)
def molecule(smiles: str) -> bytes:
    """SVG of a molecule. Raises Undrawn with the reason for what is none, and NotInstalled without RDKit."""
    pool = DRAWING.get()
    try:
        drawn = pool.submit(_drawn, smiles).result()
    except BrokenProcessPool:
        DRAWING.drop(pool)
        raise Undrawn("the process that drew it died") from None
    except Unreadable as error:
        raise Undrawn(str(error)) from None
    except ImportError:
        raise NotInstalled("drawings of molecules need RDKit: install the extra `molecules`") from None
    return sanitised(drawn)


def _drawn(smiles: str) -> str:
    """RDKit's own SVG. Runs in a process of its own."""
    from rdkit.Chem.Draw import rdMolDraw2D

    from verifiers.molecules import read

    picture = rdMolDraw2D.MolDraw2DSVG(*SIDES)
    options = picture.drawOptions()
    options.clearBackground = False
    options.padding = 0.06
    rdMolDraw2D.PrepareAndDrawMolecule(picture, read(smiles).mol)
    picture.FinishDrawing()
    return picture.GetDrawingText()


def sanitised(svg: str) -> bytes:
    """The shapes of an SVG with their geometry and paint, and nothing else."""
    ElementTree.register_namespace("", SVG)
    return ElementTree.tostring(_plain(ElementTree.fromstring(svg)), "utf-8")  # noqa: S314 - RDKit wrote it


def _plain(element: ElementTree.Element) -> ElementTree.Element:
    kept = {
        name: value for name, value in element.attrib.items() if name in GEOMETRY | PAINT and PLAIN.fullmatch(value)
    }
    pairs = (part.partition(":") for part in element.attrib.get("style", "").split(";"))
    paint = {name.strip(): value.strip() for name, _, value in pairs if name.strip() in PAINT}
    kept |= {name: value for name, value in paint.items() if PLAIN.fullmatch(value) and "url" not in value}
    out = ElementTree.Element(element.tag, kept)
    out.extend(_plain(child) for child in element if child.tag in {f"{{{SVG}}}{shape}" for shape in SHAPES})
    return out
