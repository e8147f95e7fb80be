"""Build the gateway's jar into wheels; all else is in setup.cfg."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

from setuptools import Command, setup
from setuptools.command.build import build
from setuptools.errors import SetupError

PACKAGE = Path(__file__).parent / "hbase_bridge"
sys.path.insert(0, str(PACKAGE))
from maven import BuildFault, build_jar  # noqa: E402  (the package itself needs what is not installed yet)

sys.path.remove(str(PACKAGE))

SWITCH = "WITHOUT_GATEWAY_JAR"  # variables with the prefix ALERTFLIGHT_ are settings of the server
ADVICE = (
    "a wheel of Alertflight contains the HBase gateway, which is built with Maven and a JDK of version 17 or newer: install both "
    f"(Debian: apt install openjdk-17-jdk-headless maven); or set {SWITCH}=1 for a wheel without it, which is enough for the "
    "embedded store"
)


class BuildGatewayJar(Command):
    """A step of `build`, by setuptools' protocol `SubCommand`; an editable installation builds its jar at first use."""

    description = "build the HBase gateway's jar with Maven"
    user_options: ClassVar = [("build-lib=", "d", "folder to build to")]

    def initialize_options(self) -> None:
        """Declare the options; `editable_wheel` sets `editable_mode`."""
        self.build_lib: str | None = None
        self.editable_mode = False

    def finalize_options(self) -> None:
        """Build to where the modules go."""
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        """Build the jar, unless the installation is editable or the switch is set.

        Raises
        ------
        SetupError
            The jar cannot be built; the message says what to do.
        """
        if self.editable_mode:
            return
        jar = self._jar()
        jar.unlink(missing_ok=True)  # build/ may be that of an earlier wheel
        if os.environ.get(SWITCH, "0") not in {"", "0"}:
            self.warn(f"{SWITCH} is set: this wheel has no HBase gateway")
            return
        jar.parent.mkdir(parents=True, exist_ok=True)
        self.announce("building the HBase gateway with Maven", level=2)
        try:
            build_jar(PACKAGE / "java", jar)
        except BuildFault as fault:
            raise SetupError(ADVICE if fault.missing else str(fault)) from fault

    def get_source_files(self) -> list[str]:
        """Return nothing further for the sdist; `package_data` has the sources."""
        return []

    def get_outputs(self) -> list[str]:
        """Return what `run` made."""
        return [str(self._jar())] if not self.editable_mode and self._jar().is_file() else []

    def get_output_mapping(self) -> dict[str, str]:
        """Return no pairs: the jar stands for no file of the sources."""
        return {}

    def _jar(self) -> Path:
        assert self.build_lib is not None
        return Path(self.build_lib) / "hbase_bridge" / "gateway.jar"


class Build(build):
    """`build` with the gateway's jar."""

    sub_commands: ClassVar = [*build.sub_commands, ("build_gateway_jar", None)]


setup(cmdclass={"build": Build, "build_gateway_jar": BuildGatewayJar})
