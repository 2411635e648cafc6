#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What README says about using the library: install it, compile a program by pkg-config, run that.

usage: check_install.py BUILD_FOLDER PACKAGE PROGRAM.c CC...
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile


def output(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def option(build, name):
    options = json.loads(output("meson", "introspect", "--buildoptions", build))
    return next(each["value"] for each in options if each["name"] == name)


def main():
    build, package, source, cc = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    with tempfile.TemporaryDirectory() as folder:
        output("meson", "install", "-C", build, "--no-rebuild", "--destdir", folder)
        prefix = folder + option(build, "prefix")
        libdir = pathlib.Path(prefix, option(build, "libdir"))
        env = {**os.environ, "PKG_CONFIG_PATH": str(libdir / "pkgconfig"),
               "LD_LIBRARY_PATH": str(libdir)}
        flags = output("pkg-config", f"--define-variable=prefix={prefix}", "--cflags", "--libs",
                       package, env=env).split()
        program = folder + "/program"
        output(*cc, "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", source, *flags,
               "-o", program)
        print(output(program, env=env), end="")


if __name__ == "__main__":
    main()
