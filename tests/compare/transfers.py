"""Downloads and checks: whole programs that run to their end."""

import os
import shutil
import subprocess
import sys

from contenders import KIB, MIB, role
from measure import start


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
