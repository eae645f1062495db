# SPDX-License-Identifier: Apache-2.0
"""A directory as a Kubernetes secret volume lays it out: hidden directories, one for each version, the
link "..data" to the one in force, and visible names that are links through it."""
import os
import pathlib
import shutil

NAMES = {"certificate": "tls-server-cert", "key": "tls-server-key", "ca": "tls-cafile"}


class SecretMount:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.version = 0

    def put(self, **files):
        """Another version with the files certificate=, key=, ca= (paths, or bytes), swapped in at once."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.version += 1
        fresh = self.path / f"..version_{self.version}"
        fresh.mkdir()
        for role, content in files.items():
            write(fresh / NAMES[role], content)
        link = self.path / "..data_tmp"
        link.symlink_to(fresh.name)
        old = os.readlink(self.path / "..data") if (self.path / "..data").is_symlink() else None
        os.rename(link, self.path / "..data")
        for name in NAMES.values():
            visible = self.path / name
            if (fresh / name).exists() and not visible.is_symlink():
                visible.symlink_to(f"..data/{name}")
            elif not (fresh / name).exists() and visible.is_symlink():
                visible.unlink()
        if old:
            shutil.rmtree(self.path / old)


class PlainDirectory:
    """The same three names as files; |rename|: each is replaced by a rename, else written in place."""

    def __init__(self, path, rename):
        self.path, self.rename = pathlib.Path(path), rename

    def put(self, **files):
        self.path.mkdir(parents=True, exist_ok=True)
        for role, content in files.items():
            target = self.path / NAMES[role]
            fresh = target.with_suffix(".fresh") if self.rename else target
            write(fresh, content)
            if self.rename:
                os.rename(fresh, target)


def write(path, content):
    """Readable for its owner alone, as a key has to be where the mount can be written."""
    path.write_bytes(content if isinstance(content, bytes) else pathlib.Path(content).read_bytes())
    path.chmod(0o600)
