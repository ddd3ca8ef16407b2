"""How runs are measured: in turns, medians, ratios to reef's."""

import os
import statistics
import subprocess
import sys

from contenders import role, say, torrent_of

LAUNCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")


class Bench:
    """A folder for the files, the programs, and how often each runs."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.env = dict(os.environ, HOME=folder, XDG_STATE_HOME=f"{folder}/state", XDG_CONFIG_HOME=f"{folder}/config")
        self.rows = []

    def measure(self, command):
        """Runs a command to its end: CPU seconds, seconds on the clock, its own peak memory in MiB."""
        launch = [sys.executable, "-I", "-S", LAUNCH, *command]
        run = subprocess.run(launch, env=self.env, stdout=subprocess.PIPE, text=True)
        if run.returncode != 0:
            sys.exit(f"{' '.join(command)} failed with {run.returncode}")
        cpu, seconds, memory = map(float, run.stdout.split())
        return cpu, seconds, memory

    def in_turns(self, title, contenders, before=lambda name: None, after=lambda name: None):
        """Runs the contenders in turns; the first round warms caches and is not counted.

        Every other round goes backwards: on a virtual machine whoever comes after the removal of large files pays for
        memory that has gone back to its host in between, and that is not to be always the same one. Large files make
        it worse, since there is time for it while one runs.
        """
        results = {name: [] for name in contenders}
        for number in range(self.options.rounds + 1):
            for name, command in list(contenders.items())[:: -1 if number % 2 else 1]:
                before(name)
                cpu, wall, memory = self.measure(command)
                after(name)
                if number > 0:
                    results[name].append((cpu * 1024 / self.options.mib, wall, memory))
        self.report(title, results)

    def report(self, title, results):
        say(f"{title}, {self.options.mib} MiB, {self.options.rounds} rounds:")
        medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in results.items()}
        mine = medians["reef"][0]
        for name, (cpu, wall, memory) in medians.items():
            ratio = "" if name == "reef" else f"   reef / {name} = {mine / cpu:.2f}, reef - {name} = {mine - cpu:+.3f}"
            say(f"  {name:12} {cpu:6.3f} CPU s/GiB  {wall:6.2f} s  {memory:6.1f} MiB{ratio}")
        self.rows.append({"what": title, "mib": self.options.mib, "medians": medians})

    def torrent(self, piece):
        path = torrent_of(self.folder, piece)
        if not os.path.exists(path):
            subprocess.run(role("torrent", self.folder, str(piece)), check=True)
        return path

    def floor(self, *args):
        path = self.options.floor
        return [path, *args] if os.path.exists(path) else None


def start(command, ready="ready", **how):
    """Starts a process that says when it is ready."""
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **how)
    if ready not in server.stdout.readline():
        sys.exit(f"{' '.join(command)} did not start")
    return server
