"""The route through the code that CONTRIBUTING.md shows."""

import pytest

from tools import route


def test_the_route_has_the_lines_of_the_code_as_it_is():
    [shown] = route.LIST.findall(route.PAGE.read_text(encoding="utf-8"))
    assert shown == route.route(), "write it anew: python -m tools.route"


def test_a_line_is_where_a_name_is_defined():
    source = "x = 1\n\nclass A:\n    def b(self): ...\n\ndef c(): ...\n"
    assert [route.line_of(source, name) for name in ("A", "A.b", "c")] == [3, 4, 6]
    with pytest.raises(KeyError):
        route.line_of(source, "A.c")
