from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

settings = ConfigParser()
settings.read_string(Path("settings.ini").read_text(encoding="utf-8"))
about = settings["DEFAULT"]
extras = {key: value for key, value in settings["extras"].items() if key not in about}

setup(
    name=about["name"],
    version=about["version"],
    description=about["description"],
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license=about["license"],
    python_requires=about["python"],
    packages=find_packages(include=[f"{about['lib_name']}*"]),
    package_data={about["lib_name"]: ["static/*"]},
    install_requires=about["requirements"].split(),
    extras_require={extra: names.split() for extra, names in extras.items()},
    entry_points={"console_scripts": about["console_scripts"].split()},
)
