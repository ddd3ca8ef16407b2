#!/usr/bin/env python3
"""What a transfer costs: reef beside libtorrent, and beside the least that it can cost at all.

    cargo build --release && cargo build --release --example floor
    tests/compare/compare.py                               # download and check, 1 peer and 20
    tests/compare/compare.py download --peers 1 --pieces 256 1024 4096 16384 --mib 2048
    tests/compare/compare.py check --files 10000

libtorrent comes from PyPI, into target/compare, if Python does not have it. All contenders of a comparison run in turns on
the same files, over loopback TCP without encryption. For each run the CPU time of the whole process (user and system), the
time on the clock and the peak memory are taken; medians are printed, and reef's ratio to each of the others. Figures drift
by a third between series on a shared machine: it is the ratios that count. reef runs with its standard plugins.

  download  reef, libtorrent, and with one peer examples/floor (receive, hash side by side, write; no protocol)
  check     reef check, libtorrent's check of files that are there, examples/floor check
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

LIBTORRENT = "libtorrent==2.1.1"
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def with_libtorrent():
    """libtorrent's module; in a Python environment of our own where this one does not have it."""
    try:
        import libtorrent
        return libtorrent
    except ImportError:
        pass
    home = os.path.join(ROOT, "target", "compare", "venv")
    python = os.path.join(home, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(home):
        sys.exit(f"{home} has no libtorrent; remove it and try again")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
    if subprocess.run([python, "-c", "import libtorrent"], stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", LIBTORRENT], check=True)
    os.execv(python, [python, *sys.argv])


lt = with_libtorrent()


def say(text):
    print(text, flush=True)


# What contenders transfer.

def make_files(folder, mib, files):
    """Files that do not compress: one, or many of the same size in folders of a hundred."""
    if files == 1:
        os.makedirs(f"{folder}/seed")
        with open(f"{folder}/seed/data", "wb") as out:
            for _ in range(mib):
                out.write(os.urandom(MIB))
        return
    size = mib * MIB // files
    for number in range(files):
        path = f"{folder}/seed/data/{number // 100}"
        os.makedirs(path, exist_ok=True)
        with open(f"{path}/{number}", "wb") as out:
            out.write(os.urandom(size))


def torrent_of(folder, piece):
    return f"{folder}/{piece // KIB}.torrent"


def make_torrent(folder, piece):
    """A v1 torrent of the files with pieces of so many bytes."""
    path, piece = torrent_of(folder, int(piece)), int(piece)
    content = f"{folder}/seed/data"
    info = {b"name": b"data", b"piece length": piece}
    if os.path.isfile(content):
        names, info["length"] = [content], os.path.getsize(content)
    else:
        found = sorted(os.path.join(at, name) for at, _, names in os.walk(content) for name in names)
        names = found
        info[b"files"] = [{b"length": os.path.getsize(name), b"path": os.fsencode(os.path.relpath(name, content)).split(b"/")}
                          for name in found]
    hashes, rest = [], b""
    for name in names:
        with open(name, "rb") as file:
            while data := file.read(piece - len(rest)):
                rest += data
                if len(rest) == piece:
                    hashes.append(hashlib.sha1(rest).digest())
                    rest = b""
    if rest:
        hashes.append(hashlib.sha1(rest).digest())
    info[b"pieces"] = b"".join(hashes)
    with open(path, "wb") as out:
        out.write(lt.bencode({b"info": info}))


# libtorrent, as a seed and as a contender. Each runs in a process of its own: this script with `--as`.

def session(listen):
    return lt.session({
        "listen_interfaces": listen,
        "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification,
        "enable_dht": False, "enable_lsd": False, "enable_natpmp": False, "enable_upnp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False,
        "in_enc_policy": 2, "out_enc_policy": 2,
        "allow_multiple_connections_per_ip": True,
    })


def add(ses, torrent, folder, flags=0):
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    params.flags |= flags
    return ses.add_torrent(params)


def wait_for(ses, kind):
    while True:
        ses.wait_for_alert(60_000)
        for alert in ses.pop_alerts():
            if alert.what() == kind:
                return


def as_seeds(torrent, folder, *addresses):
    """A process that serves from each address: says so, and ends with its input."""
    sessions = [session(address) for address in addresses]
    for ses in sessions:
        handle = add(ses, torrent, folder, lt.torrent_flags.seed_mode)
        while not handle.status().is_seeding:
            ses.wait_for_alert(100)
            ses.pop_alerts()
    say("ready")
    sys.stdin.read()
    os._exit(0)


def as_leech(torrent, into, listen, *peers):
    """libtorrent's download, until everything is verified and written."""
    ses = session(listen)
    handle = add(ses, torrent, into)
    for peer in peers:
        host, port = peer.rsplit(":", 1)
        handle.connect_peer((host, int(port)))
    wait_for(ses, "torrent_finished")
    handle.flush_cache()
    wait_for(ses, "cache_flushed")


def as_checker(torrent, folder, listen):
    """libtorrent's check of files that are there."""
    ses = session(listen)
    handle = add(ses, torrent, folder)
    wait_for(ses, "torrent_checked")
    if handle.status().progress < 1:
        sys.exit("libtorrent: the files are not right")


# Torrents are made in a process of their own: what this one holds counts as memory of those that it starts.
ROLES = {"torrent": make_torrent, "seeds": as_seeds, "leech": as_leech, "checker": as_checker}


def role(name, *args):
    return [sys.executable, os.path.abspath(__file__), "--as", name, *args]


# Measuring.

class Bench:
    """A folder for the files, the programs, and how often each runs."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.env = dict(os.environ, HOME=folder, XDG_STATE_HOME=f"{folder}/state", XDG_CONFIG_HOME=f"{folder}/config")
        self.rows = []

    def measure(self, command):
        """Runs a command to its end: CPU seconds, seconds on the clock, peak memory in MiB."""
        start = time.monotonic()
        child = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"{' '.join(command)} failed with {child.returncode}")
        return usage.ru_utime + usage.ru_stime, time.monotonic() - start, usage.ru_maxrss / 1024

    def in_turns(self, title, contenders, before=lambda name: None, after=lambda name: None):
        """Runs the contenders in turns; the first round warms caches and is not counted."""
        results = {name: [] for name in contenders}
        for number in range(self.options.rounds + 1):
            for name, command in contenders.items():
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


def start(command):
    """Starts a process that says when it is ready."""
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if server.stdout.readline().strip() != "ready":
        sys.exit(f"{' '.join(command)} did not start")
    return server


def download(bench, peers, piece):
    folder, into = bench.folder, f"{bench.folder}/in"
    torrent = bench.torrent(piece)
    addresses = [f"127.0.1.{number + 1}:6902" for number in range(peers)]
    seeds = start(role("seeds", torrent, f"{folder}/seed", *addresses))
    named = [word for address in addresses for word in ("--peer", address)]
    contenders = {
        "reef": [bench.options.reef, "get", torrent, "-o", into, "-q", "--listen", "127.0.0.3:0", *named],
        "libtorrent": role("leech", torrent, into, "127.0.0.4:6904", *addresses),
    }
    raw = "127.0.0.5:6905"
    floor = bench.floor("receive", raw, str(bench.options.mib * MIB), f"{into}/data")
    if floor and peers == 1 and bench.options.files == 1:
        contenders["floor"] = floor
    senders = []

    def before(name):
        os.makedirs(into, exist_ok=True)
        if name == "floor":
            senders.append(start(bench.floor("send", raw, f"{folder}/seed/data")))

    def after(name):
        if subprocess.run(["diff", "-qr", f"{folder}/seed/data", f"{into}/data"]).returncode != 0:
            sys.exit(f"{name}: the files differ")
        shutil.rmtree(into)
        shutil.rmtree(f"{folder}/state", ignore_errors=True)
        while senders:
            senders.pop().communicate()

    bench.in_turns(f"download from {count(peers)}, pieces of {piece // KIB} KiB", contenders, before, after)
    seeds.communicate()


def check(bench, piece):
    torrent = bench.torrent(piece)
    folder = f"{bench.folder}/seed"
    contenders = {
        "reef": [bench.options.reef, "check", torrent, folder, "-q"],
        "libtorrent": role("checker", torrent, folder, "127.0.0.4:6904"),
    }
    floor = bench.floor("check", f"{folder}/data")
    if floor and bench.options.files == 1:
        contenders["floor"] = floor
    files = "one file" if bench.options.files == 1 else f"{bench.options.files} files"
    bench.in_turns(f"check of {files}, pieces of {piece // KIB} KiB", contenders)


def count(peers):
    return "1 peer" if peers == 1 else f"{peers} peers"


def main():
    if sys.argv[1:2] == ["--as"]:
        return ROLES[sys.argv[2]](*sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="what to compare: download, check (by default both)")
    parser.add_argument("--mib", type=int, default=1024, help="size of the files")
    parser.add_argument("--files", type=int, default=1, help="how many files")
    parser.add_argument("--peers", type=int, nargs="+", default=[1, 20], help="from how many peers to download")
    parser.add_argument("--pieces", type=int, nargs="+", default=[1024], help="sizes of pieces, in KiB")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each that are counted")
    parser.add_argument("--reef", default=f"{ROOT}/target/release/reef", help="the program")
    parser.add_argument("--floor", default=f"{ROOT}/target/release/examples/floor", help="the floor program")
    parser.add_argument("--folder", help="where to put the files (by default the system's temporary folder)")
    parser.add_argument("--json", help="a file for the figures")
    options = parser.parse_args()
    what = options.what or ["download", "check"]
    for unknown in set(what) - {"download", "check"}:
        parser.error(f"{unknown} is nothing to compare; download and check are")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        make_files(folder, options.mib, options.files)
        bench = Bench(options, folder)
        startup = bench.measure([sys.executable, "-c", "import libtorrent"])[0]
        say(f"of libtorrent's time {startup:.3f} s a run are Python's start")
        for piece in options.pieces:
            for peers in options.peers if "download" in what else []:
                download(bench, peers, piece * KIB)
            if "check" in what:
                check(bench, piece * KIB)
    if options.json:
        with open(options.json, "w") as out:
            json.dump(bench.rows, out, indent=1)


main()
