"""Drawings of molecules are shapes and nothing else."""

from importlib.util import find_spec
from xml.etree import ElementTree

import pytest
from helping import refused

from service.client import Client
from service.depiction import SHAPES, SVG, sanitised

needs_rdkit = pytest.mark.skipif(not find_spec("rdkit"), reason="NOT EXAMINED: needs the extra `molecules`")


def test_only_shapes_and_paint_are_left() -> None:
    hostile = f"""<svg xmlns="{SVG}" xmlns:x="http://www.w3.org/1999/xlink" width="5" onload="alert(1)">
      <script>alert(1)</script><style>path {{ fill: url(http://a) }}</style><metadata>m</metadata>
      <a x:href="javascript:alert(1)"><path d="M0,0"/></a><image x:href="http://a"/><text>hi</text>
      <foreignObject><body xmlns="http://www.w3.org/1999/xhtml"/></foreignObject>
      <g class="c"><path d="M 1,1 L 2,2" onclick="alert(1)" style="fill:url(#a);stroke:#F00;position:fixed"/></g>
    </svg>"""
    plain = b'<svg xmlns="http://www.w3.org/2000/svg" width="5"><g><path d="M 1,1 L 2,2" stroke="#F00" /></g></svg>'
    assert sanitised(hostile) == plain


@needs_rdkit
def test_a_molecule_is_drawn_and_what_is_none_is_refused(client: Client) -> None:
    got = client.http.get("/v1/depictions/molecule", params={"smiles": "CC(=O)Oc1ccccc1C(=O)O"})
    assert got.status_code == 200
    assert got.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in got.headers["content-security-policy"]
    tags = {element.tag.removeprefix(f"{{{SVG}}}") for element in ElementTree.fromstring(got.content).iter()}
    assert "path" in tags
    assert tags <= SHAPES
    assert got.content.count(b"<path") > 15
    for smiles in ("C(C", "<script>", "C" * 501):
        refused(client.http.get("/v1/depictions/molecule", params={"smiles": smiles}), 422)
