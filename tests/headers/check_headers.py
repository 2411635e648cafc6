#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every public header compiles alone, warning-free, as strict C11 and as C++17.

usage: check_headers.py CC...   (the C compiler's command; g++ or clang++ is looked up)
"""
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only"]


def compile_alone(command, language, standard, header):
    """Includes the header twice: the guard is part of the contract."""
    include = f"#include <jackdaw/{header.name}>\n"
    return subprocess.run(
        [*command, *STRICT, f"-std={standard}", "-I", str(ROOT / "include"), "-x", language, "-"],
        input=include * 2, capture_output=True, text=True)


def main():
    cc = sys.argv[1:] or ["cc"]
    cxx = next((c for c in ("g++", "clang++-19", "clang++") if shutil.which(c)), None)
    headers = sorted((ROOT / "include/jackdaw").glob("*.h"))
    print(f"1..{len(headers) * 2}")
    for header in headers:
        for command, language, standard in ((cc, "c", "c11"), ([cxx], "c++", "c++17")):
            name = f"{header.name} as {standard}"
            if command == [None]:
                print(f"ok {name} # SKIP no C++ compiler")
                continue
            run = compile_alone(command, language, standard, header)
            print("ok" if run.returncode == 0 else "not ok", name)
            for line in run.stderr.splitlines():
                print("#", line)


if __name__ == "__main__":
    main()
