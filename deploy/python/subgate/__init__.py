"""Subgate: an S3 reverse proxy that makes a Bittensor hotkey an S3 identity. The package holds its program."""

import os
import sysconfig


def find_program() -> str:
    """Gives the path of the program that came with this package."""
    name = "subgate" + (sysconfig.get_config_var("EXE") or "")
    # This interpreter's own, a user's (`pip install --user`), and `pip install --target DIR`.
    user_scheme = sysconfig.get_preferred_scheme("user")
    here = os.path.dirname(os.path.abspath(__file__))
    folders = [
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", scheme=user_scheme),
        os.path.join(os.path.dirname(here), "bin"),
    ]
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    raise FileNotFoundError(f"{name} is in none of {', '.join(folders)}: install the package once more")
