"""The package list: all of neurodeploy/, and the two TOML folders beside it as its sub-packages.

Everything else is in pyproject.toml, where a list of packages is either found or written out.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["neurodeploy", "neurodeploy.*"]),
        "neurodeploy.models",
        "neurodeploy.targets",
    ]
)
