"""Sphinx's settings for the book. `tools/book.py` gathers the pages and calls Sphinx."""

from sdlearn import __version__
from tools.notebooks import repository

project, author, release = "sdlearn", "The sdlearn authors", __version__
copyright = "the sdlearn authors, CC BY 4.0"
language = "en"
languages = {"en": "English"}  # the switch in the sidebar shows as soon as there are two

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["extra/**", "files/**"]
templates_path = ["_templates"]
default_role = "code"  # our docstrings have names in single backticks
suppress_warnings = ["myst.xref_missing"]  # the claims' own anchors

nb_execution_mode = "off"  # what is shown is what notebooks/solved stores
nb_ipywidgets_js = {}  # no widgets, and so no requests for their library
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_block", "dollarmath", "html_image"]
myst_heading_anchors = 3
mathjax_path = "mathjax/tex-chtml.js"

autodoc_typehints = "description"
autodoc_member_order = "bysource"
add_module_names = False

html_theme = "sphinx_book_theme"
html_title = "How Stable Diffusion works, and how to make it your own"
html_static_path = ["_static"]
html_extra_path = ["_build/pages/extra"]  # the first page's pictures
html_css_files = ["book.css"]
html_context = {"languages": languages, "default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it fetches pages, which a browser refuses from a disk
html_last_updated_fmt = None
html_theme_options = {
    "repository_url": f"https://github.com/{repository()}",
    "repository_branch": "main",
    "use_repository_button": True,
    "use_download_button": False,  # each chapter has its own downloads
    "navbar_persistent": [],  # the theme would draw the search twice
    "primary_sidebar_end": ["languages.html"],
    "show_toc_level": 2,
    "home_page_in_toc": True,
}
