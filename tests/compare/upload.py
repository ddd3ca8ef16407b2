#!/usr/bin/env python3
"""What an upload costs: reef beside libtorrent.

Both seed the same file from the page cache over loopback TCP, in turns, to a downloader that throws away what it gets
(host/reef/examples/drain.rs), with 1, 20 and 50 connections. For each run the seed's CPU time is taken, all threads, user
and system; medians and their ratios are printed. libtorrent is installed from PyPI into target/compare/venv if this
Python has none.

    cargo build --release && cargo build --release -p reef --example drain
    python3 tests/compare/upload.py [--mib 1024] [--rounds 5] [--limit-mib 64]
"""

import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
LIBTORRENT = "2.1.1"
MIB = 1 << 20


def install():
    """Runs this script again with a Python that has libtorrent."""
    folder = os.path.join(ROOT, "target/compare/venv")
    python = os.path.join(folder, "bin/python")
    if sys.executable == python:
        sys.exit("libtorrent is installed but cannot be imported; remove target/compare and try again")
    if not os.path.exists(python):
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", f"libtorrent=={LIBTORRENT}"], check=True)
    os.execv(python, [python, *sys.argv])


try:
    import libtorrent as lt
except ImportError:
    install()


def say(text):
    print(text, flush=True)


def make(folder, mib):
    """A file that does not compress, and its torrent file with pieces of 1 MiB."""
    path = f"{folder}/data.bin"
    with open(path, "wb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
    torrent = lt.create_torrent(lt.list_files(path), MIB, lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, folder)
    with open(f"{folder}/data.torrent", "wb") as out:
        out.write(lt.bencode(torrent.generate()))


def serve(folder, listen, limit):
    """libtorrent's seed: says so, and ends with its input."""
    ses = lt.session({
        "listen_interfaces": listen,
        "alert_mask": lt.alert.category_t.status_notification,
        "enable_dht": False, "enable_lsd": False, "enable_natpmp": False, "enable_upnp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False,
        "in_enc_policy": 2, "out_enc_policy": 2,
        "allow_multiple_connections_per_ip": True, "unchoke_slots_limit": -1,
        "upload_rate_limit": int(limit), "max_allowed_in_request_queue": 2000,
    })
    params = lt.load_torrent_file(f"{folder}/data.torrent")
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    handle = ses.add_torrent(params)
    while not handle.status().is_seeding:
        ses.wait_for_alert(1000)
        ses.pop_alerts()
    say("seeding")
    sys.stdin.read()
    os._exit(0)


class Seed:
    """A process that serves the file."""

    def __init__(self, command, env, ready, address):
        self.address = address
        self.child = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if ready not in self.child.stdout.readline():
            sys.exit(f"{command[0]} does not seed")

    def cost(self):
        """CPU seconds and voluntary context switches so far, of all threads."""
        nanoseconds = switches = 0
        for task in glob.glob(f"/proc/{self.child.pid}/task/*"):
            with open(f"{task}/schedstat") as file:
                nanoseconds += int(file.read().split()[0])
            with open(f"{task}/status") as file:
                switches += sum(int(line.split()[1]) for line in file if line.startswith("voluntary"))
        return nanoseconds / 1e9, switches

    def end(self):
        self.child.terminate()
        self.child.wait()


def seeds(options, folder, limit=0):
    env = dict(os.environ, HOME=folder, XDG_STATE_HOME=f"{folder}/state", XDG_CONFIG_HOME=f"{folder}/config")
    reef = [options.reef, "seed", f"{folder}/data.torrent", folder, "--listen", "127.0.0.2:6911",
            "--set", "unchoke_slots_limit=-1"]
    if limit:
        reef += ["--upload-limit", str(limit)]
    libtorrent = [sys.executable, __file__, "--serve", folder, "127.0.0.3:6912", str(limit)]
    return {
        "reef": Seed(reef, env, "serving", "127.0.0.2:6911"),
        "libtorrent": Seed(libtorrent, env, "seeding", "127.0.0.3:6912"),
    }


def drain(options, folder, seed, connections, mib):
    """One run: CPU seconds a GiB, seconds, switches a GiB, and the least and most that a connection got."""
    before = seed.cost()
    command = [options.drain, f"{folder}/data.torrent", seed.address, "--connections", str(connections),
               "--mib", str(mib), "--window", str(options.window)]
    got = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    after = seed.cost()
    gib = got["mib"] / 1024
    return (after[0] - before[0]) / gib, got["seconds"], (after[1] - before[1]) / gib, got["least"], got["most"]


def rounds(options, folder, running, what, connections, mib):
    results = {name: [] for name in running}
    for number in range(options.rounds + 1):
        for name, seed in running.items():
            run = drain(options, folder, seed, connections, mib)
            # The first round warms the page cache and is not counted.
            if number > 0:
                results[name].append(run)
    medians = {name: [statistics.median(column) for column in zip(*runs)] for name, runs in results.items()}
    for name, (cpu, seconds, switches, least, most) in medians.items():
        say(f"{what:24} {name:10} {cpu:6.3f} CPU s/GiB {seconds:7.2f} s {switches:8.0f} waits/GiB  "
            f"{least:.1f} to {most:.1f} MiB a connection")
    ratio = medians["reef"][0] / medians["libtorrent"][0]
    say(f"{what:24} reef takes {ratio:.2f} x the CPU time of libtorrent")
    return {"medians": medians, "ratio": ratio}


def compare(options, folder):
    make(folder, options.mib)
    report = {}
    running = seeds(options, folder)
    for connections in options.connections:
        what = f"{connections} connections"
        report[what] = rounds(options, folder, running, what, connections, options.mib)
    for seed in running.values():
        seed.end()
    if options.limit_mib:
        running = seeds(options, folder, options.limit_mib * MIB)
        for connections in (1, 20):
            what = f"{connections} at {options.limit_mib} MiB/s"
            report[what] = rounds(options, folder, running, what, connections, options.limit_mib * 5)
        for seed in running.values():
            seed.end()
    say(json.dumps(report))


def main():
    if sys.argv[1:2] == ["--serve"]:
        return serve(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each that are counted")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 20, 50], help="connections at once")
    parser.add_argument("--window", type=int, default=256, help="requests outstanding on each connection")
    parser.add_argument("--limit-mib", type=int, default=0, help="measure also under this limit, in MiB a second")
    parser.add_argument("--reef", default=f"{ROOT}/target/release/reef", help="the program")
    parser.add_argument("--drain", default=f"{ROOT}/target/release/examples/drain", help="the downloader")
    parser.add_argument("--folder", help="where to put the files (by default the system's temporary folder)")
    options = parser.parse_args()
    for program in (options.reef, options.drain):
        if not os.path.exists(program):
            sys.exit(f"{program} is missing: cargo build --release && cargo build --release -p reef --example drain")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        compare(options, folder)


main()
