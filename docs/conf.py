"""The documentation's site: Sphinx with furo; pages in Markdown, the API from the docstrings, the examples executed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx_gallery.scrapers import figure_rst

import physode

HERE = Path(__file__).parent
_PICTURES = HERE / "_pictures"  # where the examples put their figures
_TAKES_DATA = r"0[89]|10"  # examples that are best read with real measurements, and run on stand-ins

project = "physode"
author = "the physode authors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
release = version = physode.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "figures", "results"]

suppress_warnings = ["config.cache", "myst.header"]  # the gallery's settings hold functions; tables taken in

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # the site is built without a network

html_theme = "furo"
html_title = f"physode {release}"
html_static_path: list[str] = []
html_show_sphinx = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


class PictureScraper:
    """Takes the figures that an example wrote into the folder of pictures."""

    def __repr__(self) -> str:
        return "PictureScraper"

    def __call__(self, block: object, block_vars: dict, gallery_conf: dict) -> str:
        """Return what shows the new pictures."""
        names = block_vars["image_path_iterator"]
        pictures = []
        for picture, target in zip(sorted(_PICTURES.glob("*.png")), names, strict=False):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            picture.replace(target)
            pictures.append(target)
        return figure_rst(pictures, gallery_conf["src_dir"])


def _arguments(gallery_conf: dict, script_vars: dict) -> list[str]:
    _PICTURES.mkdir(exist_ok=True)
    return ["--out", str(_PICTURES)]


sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": r"convert_|make_data|__init__",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": (PictureScraper(),),
    "reset_argv": _arguments,
    "reset_modules": (),
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
    "min_reported_time": 10,
    "remove_config_comments": True,
    "capture_repr": (),
}

PUBLIC = {
    "physode": "Solving and fitting",
    "physode.sensitivity": "Sensitivities and standard errors",
    "physode.gradcheck": "Gradients checked",
    "physode.rhs": "Right-hand sides",
    "physode.simulators": "Simulators",
    "physode.estimation": "Estimates of equations of one's own",
    "physode.sweeps": "Sweeps",
    "physode.fitting": "Fits of built-in systems and networks",
    "physode.models": "Layers and networks",
    "physode.images": "Image classifiers",
    "physode.series": "Irregular series",
    "physode.metrics": "Figures of merit",
    "physode.plotting": "Figures",
    "physode.datasets": "Files of trajectories",
    "physode.datasets.images": "Files of images",
    "physode.datasets.series": "Files of series",
    "physode.solvers.tableaus": "Tableaus",
    "physode.compat": "torchdiffeq's and TorchDiffEqPack's interfaces",
    "physode.errors": "Errors",
}
"""The modules whose public names the API's page lists."""


def write_api(app: Sphinx) -> None:
    """Write the page of the API from the modules' own lists of public names, so that none is missing."""
    parts = ["API", "===", ""]
    for module, title in PUBLIC.items():
        members = importlib.import_module(module)
        listed = getattr(members, "__all__", None) or [name for name in vars(members) if not name.startswith("_")]
        named = [name for name in listed if not name.startswith("_") and not is_module(getattr(members, name))]
        own = [name for name in named if callable(getattr(members, name)) and _at_home(getattr(members, name))]
        parts += [
            title,
            "-" * len(title),
            "",
            f".. currentmodule:: {module}",
            "",
            ".. autosummary::",
            "   :toctree: api",
        ]
        parts += ["", *(f"   {name}" for name in sorted(own, key=str.casefold)), ""]
    page = "\n".join(parts)
    path = HERE / "api.rst"
    if not path.exists() or path.read_text() != page:
        path.write_text(page)


def is_module(value: object) -> bool:
    """Whether a public name is a package with a page of its own."""
    return type(value).__name__ in ("module", "_LazyPackage")


def _at_home(value: object) -> bool:
    return str(getattr(value, "__module__", "")).startswith("physode")


def setup(app: Sphinx) -> None:
    """Write what is generated before Sphinx looks for pages."""
    app.connect("config-inited", lambda app, config: write_api(app))


sys.path.insert(0, str(HERE.parent))
