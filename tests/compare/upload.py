"""Uploads: seeds that serve from the page cache to a downloader that throws away what it gets (host/reef/examples/drain.rs)."""

import glob
import json
import statistics
import subprocess

from contenders import KIB, MIB, role, say
from measure import start


class Seed:
    """A process that serves the file."""

    def __init__(self, command, ready, address, env):
        self.address = address
        # reef writes there how it gets on.
        self.child = start(command, ready, env=env, stderr=subprocess.DEVNULL)

    def cost(self):
        """CPU seconds and voluntary context switches so far, of all threads."""
        nanoseconds = switches = 0
        for task in glob.glob(f"/proc/{self.child.pid}/task/*"):
            with open(f"{task}/schedstat") as file:
                nanoseconds += int(file.read().split()[0])
            with open(f"{task}/status") as file:
                switches += sum(int(line.split()[1]) for line in file if line.startswith("voluntary"))
        return nanoseconds / 1e9, switches

    def memory(self):
        """Its own peak so far, in MiB."""
        with open(f"/proc/{self.child.pid}/status") as file:
            return next(int(line.split()[1]) / KIB for line in file if line.startswith("VmHWM"))

    def end(self):
        self.child.terminate()
        self.child.communicate()


def seeds(bench, torrent, limit):
    folder = f"{bench.folder}/seed"
    reef = [bench.options.reef, "seed", torrent, folder, "--listen", "127.0.0.2:6911", "--set", "unchoke_slots_limit=-1"]
    if limit:
        reef += ["--upload-limit", str(limit)]
    libtorrent = role("uploader", torrent, folder, "127.0.0.3:6912", str(limit))
    return {
        "reef": Seed(reef, "serving", "127.0.0.2:6911", bench.env),
        "libtorrent": Seed(libtorrent, "ready", "127.0.0.3:6912", bench.env),
    }


def drain(bench, torrent, seed, connections, mib):
    """One run: CPU seconds a GiB, seconds, switches a GiB, and the least and most that a connection got."""
    before = seed.cost()
    command = [bench.options.drain, torrent, seed.address, "--connections", str(connections),
               "--mib", str(mib), "--window", str(bench.options.window)]
    got = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    after = seed.cost()
    gib = got["mib"] / 1024
    return (after[0] - before[0]) / gib, got["seconds"], (after[1] - before[1]) / gib, got["least"], got["most"]


def in_turns(bench, torrent, running, title, connections, mib):
    results = {name: [] for name in running}
    for number in range(bench.options.rounds + 1):
        for name, seed in running.items():
            run = drain(bench, torrent, seed, connections, mib)
            # The first round warms the page cache and is not counted.
            if number > 0:
                results[name].append(run)
    say(f"{title}, {mib} MiB, {bench.options.rounds} rounds:")
    medians = {name: [statistics.median(column) for column in zip(*runs)] for name, runs in results.items()}
    mine = medians["reef"][0]
    for name, (cpu, seconds, switches, least, most) in medians.items():
        ratio = "" if name == "reef" else f"   reef / {name} = {mine / cpu:.2f}, reef - {name} = {mine - cpu:+.3f}"
        say(f"  {name:12} {cpu:6.3f} CPU s/GiB  {seconds:6.2f} s  {running[name].memory():6.1f} MiB  "
            f"{switches:6.0f} waits/GiB  {least:.1f} to {most:.1f} MiB a connection{ratio}")
    bench.rows.append({"what": title, "mib": mib, "medians": medians})


def upload(bench, piece):
    """Without a limit, and under the one that was asked for."""
    options, torrent = bench.options, bench.torrent(piece)
    for limit in [0, options.limit_mib] if options.limit_mib else [0]:
        running = seeds(bench, torrent, limit * MIB)
        for connections in options.connections or options.peers:
            title = f"upload over {connections} connection{'s' * (connections > 1)}, pieces of {piece // KIB} KiB"
            title += f", at most {limit} MiB/s" if limit else ""
            in_turns(bench, torrent, running, title, connections, limit * 5 or options.mib)
        for seed in running.values():
            seed.end()
