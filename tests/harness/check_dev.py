#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`./dev setup` on machines of several kinds: a copy of the script, with stubs for what it asks."""
import os
import pathlib
import shutil
import subprocess
import tempfile

DEV = pathlib.Path(__file__).resolve().parents[2] / "dev"
TOOLS = ("sh", "env", "grep", "dirname", "cat", "true")
MISSING = "libck-dev", "strace"
DPKG = """#!/bin/sh
shift 2
for package in "$@"; do
    case $package in
    {missing}) ;;
    meson) echo "$package:all installed" ;;
    *) echo "$package:amd64 installed" ;;
    esac
done
"""


class Machine:
    """Calls of apt-get and sudo are written to `calls`."""

    def __init__(self, folder, root=False, sudo=None, missing=MISSING, apt_status=0, debian=True,
                 native="amd64"):
        self.folder = pathlib.Path(folder)
        (self.folder / "bin").mkdir()
        shutil.copy(DEV, self.folder / "dev")
        for tool in TOOLS:
            (self.folder / "bin" / tool).symlink_to(shutil.which(tool))
        self.stub("id", f"#!/bin/sh\necho {0 if root else 1000}\n")
        self.stub("apt-get", f'#!/bin/sh\necho "apt-get $*" >>calls\nexit {apt_status}\n')
        if debian:
            self.stub("dpkg", f"#!/bin/sh\necho {native}\n")
            self.stub("dpkg-query", DPKG.format(missing="|".join(missing) or "-"))
        if sudo == "password":
            self.stub("sudo", "#!/bin/sh\nexit 1\n")
        elif sudo == "free":
            self.stub("sudo", '#!/bin/sh\necho sudo >>calls\nshift\nexec "$@"\n')

    def stub(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def run(self, command):
        self.result = subprocess.run(["./dev", command], cwd=self.folder, capture_output=True,
                                     text=True, env={"PATH": str(self.folder / "bin")}, timeout=20)
        calls = self.folder / "calls"
        self.calls = calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
        return self


INSTALL = "apt-get install -q -y --no-install-recommends " + " ".join(MISSING)


def nothing_to_do(new):
    m = new(missing=()).run("setup")
    return m.result.returncode == 0 and m.result.stdout == "setup: nothing is missing\n" and not m.calls


def root_installs_what_is_missing(new):
    m = new(root=True).run("setup")
    return m.result.returncode == 0 and m.calls == ["apt-get update -q", INSTALL]


def sudo_without_a_password_is_used(new):
    m = new(sudo="free").run("setup")
    return m.result.returncode == 0 and m.calls[-2:] == ["apt-get update -q", INSTALL]


def one_command(m, start):
    lines = [line for line in m.result.stderr.splitlines() if line.startswith("  ")]
    return (m.result.returncode == 1 and len(lines) == 1 and lines[0].startswith(start) and
            INSTALL in lines[0] and not m.calls)


def without_root_it_prints_one_command(new):
    return one_command(new(sudo="password").run("setup"), "  sudo sh -c 'apt-get update")


def without_sudo_it_prints_one_for_su(new):
    return one_command(new().run("setup"), "  su -c 'apt-get update")


def demo_and_test_ask_for_what_they_lack(new):
    return all(one_command(new().run(command), "  su -c 'apt-get update")
               for command in ("demo", "test", "build", "bench"))


def a_package_for_another_machine_is_missing(new):
    m = new(root=True, missing=(), native="arm64").run("setup")
    return m.result.returncode == 0 and "strace" in m.calls[1] and "meson" not in m.calls[1]


def a_failed_installation_is_a_failure(new):
    m = new(root=True, apt_status=100).run("setup")
    return m.result.returncode == 1 and "sources of apt" in m.result.stderr and len(m.calls) == 1


def elsewhere_it_names_the_packages(new):
    m = new(debian=False).run("setup")
    return m.result.returncode == 1 and "libck-dev" in m.result.stderr


def main():
    checks = (nothing_to_do, root_installs_what_is_missing, sudo_without_a_password_is_used,
              without_root_it_prints_one_command, without_sudo_it_prints_one_for_su,
              demo_and_test_ask_for_what_they_lack, a_failed_installation_is_a_failure,
              a_package_for_another_machine_is_missing, elsewhere_it_names_the_packages)
    print(f"1..{len(checks)}")
    for number, check in enumerate(checks, 1):
        with tempfile.TemporaryDirectory() as base:
            machines = []

            def new(**kind):
                folder = os.path.join(base, str(len(machines)))
                os.mkdir(folder)
                machines.append(Machine(folder, **kind))
                return machines[-1]

            good = check(new)
            print("ok" if good else "not ok", number, check.__name__.replace("_", " "))
            for machine in () if good else machines:
                print("#", machine.result, machine.calls)


if __name__ == "__main__":
    main()
